"""The pages of repositories: how images and tags are found, and what is told of each in a list."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from lumper.model.images.image import NewManifest
from lumper.model.images.rules import Rule
from lumper.model.people.people import Role
from lumper.registry.catalog.tagging import move_tags
from lumper.registry.reference import parse_reference
from lumper.registry.remote.registry import RemoteRegistry
from lumper.registry.upstream.upstreams import Upstream, Upstreams
from parts.registries.page_images import BY, INDEX, MANIFEST, Put, program
from parts.web.live_pages import PASSWORD, LivePages, seen


async def test_repositories_are_found_by_a_part_of_their_name_and_come_in_pages(
    live: LivePages, person: aiohttp.ClientSession
) -> None:
    for number in range(53):
        manifest = NewManifest("sha256:" + "a" * 64, MANIFEST, 1, ())
        await live.history.images.put_manifest(f"team/app-{number:02}", manifest, [])
    await live.put("acme/shop").image("1.0", layer=b"x" * 5000)
    page = await seen(person, "/images")
    assert page.count('<tr id="image-') == 50
    assert "acme/shop" in page
    assert "last=team/app-48" in page
    assert (await seen(person, "/images?last=team/app-48")).count('<tr id="image-') == 4
    page = await seen(person, "/images?q=P-5")
    assert page.count('<tr id="image-') == 3
    page = await seen(person, "/images?by=size")
    assert page.index("/images/acme/shop") < page.index("/images/team/app-00")
    assert page.count('<tr id="image-') == 50
    assert "4 more are not shown" in page
    assert '<span aria-current="true">Largest</span>' in page
    assert "/images/acme/shop" not in await seen(person, "/images?by=changed&q=app")
    assert "No repository has" in await seen(person, "/images?q=%00nothing%00")


async def test_tags_are_found_by_their_begin_and_tell_who_set_them(shop: Put, person: aiohttp.ClientSession) -> None:
    one = await shop.image("1.4.1", "1.4")
    await shop.image("2.0", layer=b"other")
    page = await seen(person, "/images/acme/shop?q=1.4")
    assert "/images/acme/shop:1.4.1" in page
    assert '/images/acme/shop:1.4"' in page
    assert "shop:2.0" not in page
    assert one in page
    assert ">mara<" in page
    assert "no tags that begin with 3" in await seen(person, "/images/acme/shop?q=3")


async def test_of_many_tags_those_that_were_set_last_come_first(shop: Put, person: aiohttp.ClientSession) -> None:
    for number in range(150):
        await shop.image(f"1.0.{number}", layer=b"%d" % number)
    await shop.image("0.9-late", layer=b"last of all")
    page = await seen(person, "/images/acme/shop")
    assert "docker pull registry.example.org/acme/shop:0.9-late" in page
    assert page.index("acme/shop:0.9-late<") < page.index('acme/shop:1.0.149"') < page.index('acme/shop:1.0.148"')
    assert 'acme/shop:1.0.20"' not in page
    assert "?by=name" in page
    page = await seen(person, "/images/acme/shop?by=name")
    assert page.index('acme/shop:1.0.10"') < page.index('acme/shop:1.0.100"') < page.index('acme/shop:1.0.11"')
    assert "151 tags" in page
    page = await seen(person, "/images/acme/shop?by=size")
    assert page.index('acme/shop:0.9-late"') < page.index('acme/shop:1.0.149"')
    assert "These are the largest." in page


async def test_what_is_said_of_images_is_told_in_words_and_hides_no_tag(
    shop: Put, person: aiohttp.ClientSession
) -> None:
    signed = await shop.image("z-signed")
    await shop.referrer(signed, "application/spdx+json", {})
    await shop.referrer(signed, "application/vnd.example+json", {})
    await shop.image(f"{signed.replace(':', '-')}.sig", layer=b"as cosign 2 does")
    for number in range(101):
        await shop.image(f"sha256-{number:064}.sig", layer=b"%d" % number)
    page = await seen(person, "/images/acme/shop")
    assert "acme/shop:z-signed" in page
    assert ">SBOM, signature</span>" in page
    assert "1 tag<" in page
    assert 'rel="next"' not in page
    page = await seen(person, "/images/acme/shop:z-signed")
    for kind in ("SBOM (SPDX)", "signature (cosign)", "application/vnd.example+json"):
        assert f"<b>{kind}</b>" in page
    assert '<a href="#referrers">signature</a>' in page


async def test_an_attestation_is_no_platform(shop: Put, person: aiohttp.ClientSession) -> None:
    image = await shop.image()
    about = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image}
    told = await shop.image(layer=b"told")
    entry, arm = {"mediaType": MANIFEST, "size": 100}, {"os": "linux", "architecture": "arm64"}
    entries = [{**entry, "digest": image, "platform": arm}, {**entry, "digest": told, "annotations": about}]
    await shop.manifest({"manifests": entries}, ["many"], INDEX)
    page = await seen(person, "/images/acme/shop:many")
    assert "<span>1 platform</span>" in page
    assert "<b>attestation</b>" in page
    assert '<span class="id">linux/arm64</span>' in await seen(person, "/images/acme/shop")


async def test_a_chart_is_pulled_by_helm_and_its_layer_is_a_file(shop: Put, person: aiohttp.ClientSession) -> None:
    config = await shop.blob(b'{"name": "shop"}', "application/vnd.cncf.helm.config.v1+json")
    layer = await shop.blob(b"chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
    await shop.manifest({"config": config, "layers": [layer]}, ["0.4.2"])
    page = await seen(person, "/images/acme/shop:0.4.2")
    assert "helm pull oci://registry.example.org/acme/shop --version 0.4.2" in page
    assert ">Helm chart</span>" in page
    assert ">Files</h2>" in page
    assert "application/vnd.cncf.helm.chart.content.v1.tar+gzip" in page


async def test_a_repository_with_many_tags_comes_in_pages(
    live: LivePages, shop: Put, person: aiohttp.ClientSession
) -> None:
    digest = await shop.image("n-000")
    async with live.history.database.write() as connection:
        names = [f"n-{number:03}" for number in range(150)]
        await move_tags(connection, "acme/shop", digest, names, 1, datetime.now(UTC))
    page = await seen(person, "/images/acme/shop?by=name")
    assert "last=n-099" in page
    assert page.count(":n-") >= 100
    page = await seen(person, "/images/acme/shop?last=n-099")
    assert "n-149" in page
    assert 'href="/images/acme/shop">Newest' in page
    assert "150 tags" in page
    assert "1000+" not in await seen(person, "/images")


async def test_what_changed_between_two_tags_is_told(shop: Put, person: aiohttp.ClientSession) -> None:
    old = await shop.image("1.0", "latest", config=program(Env=["MODE=quiet"]))
    new = await shop.image("latest", layer=b"newer", config=program(Env=["MODE=loud"], User=""))
    compare = "/images/acme/shop/-/compare"
    page = await seen(person, f"{compare}?a=1.0&b=latest")
    assert "$MODE" in page
    assert page.index(">quiet<") < page.index(">loud<")
    assert page.count("COPY shop /srv") == 2
    assert "− gone" in page
    assert "+ new" in page
    assert "5 B of layers are new, 0 B are in both" in page
    assert f"?a={old.replace(':', '%3A')}&b={new.replace(':', '%3A')}" in await seen(
        person, "/images/acme/shop/-/history?tag=latest"
    )
    assert "Both are the same image" in await seen(person, f"{compare}?a=1.0&b={old}")
    assert "?a=1.0&b=latest" in await seen(person, "/images/acme/shop")
    page = await seen(person, f"{compare}?a=nosuch&b=latest")
    assert "acme/shop has no nosuch." in page
    assert '<option value="latest">' in await seen(person, compare)
    assert "<script>" not in await seen(person, f"{compare}?a=%00<b>&b=&b=1".replace("<b>", "%3Cb%3E"))
    for path in ("/images/acme/none/-/compare", "/images/acme/shop:latest/-/compare"):
        await seen(person, path, 404)


async def test_indexes_are_compared_by_platform(shop: Put, person: aiohttp.ClientSession) -> None:
    stays, goes, comes = [await shop.image(layer=b"%d" % number) for number in range(3)]
    for tag, amd in (("1", goes), ("2", comes)):
        pair = (("arm64", stays), ("amd64", amd))
        entries = [
            {"mediaType": MANIFEST, "size": 100, "digest": one, "platform": {"os": "linux", "architecture": name}}
            for name, one in pair
        ]
        await shop.manifest({"manifests": entries}, [tag], INDEX)
    page = await seen(person, "/images/acme/shop/-/compare?a=1&b=2")
    assert f"?a={goes.replace(':', '%3A')}&b={comes.replace(':', '%3A')}" in page
    assert page.count(">nothing<") == 1


async def test_an_image_gets_another_tag_after_a_look_at_what_that_means(
    live: LivePages, shop: Put, person: aiohttp.ClientSession
) -> None:
    one, two = await shop.image("1.0"), await shop.image("stable", layer=b"two")
    page = await seen(person, "/images/acme/shop:1.0")
    assert f'action="/images/acme/shop@{one}/-/tag"' in page
    page = await seen(person, f"/images/acme/shop@{one}/-/tag?tag=stable")
    assert "Move the tag stable?" in page
    assert f'name="seen" value="{two}"' in page
    assert f'name="to" value="{one}"' in page
    assert "Set the tag fresh?" in await seen(person, "/images/acme/shop:1.0/-/tag?tag=fresh")
    assert "points there already" in await seen(person, "/images/acme/shop:1.0/-/tag?tag=1.0")
    async with person.post("/images/acme/shop:fresh/-/move", data={"seen": "", "to": one}) as answer:
        assert answer.status == 200
    moved = await live.history.images.tag("acme/shop", "fresh")
    assert moved is not None
    assert moved.digest == one
    async with person.post("/images/acme/shop:fresh/-/move", data={"seen": "", "to": two}) as answer:
        assert answer.status == 409
    for tag in ("", "b%20ad", "_build-1-1", "x@y", ".x"):
        await seen(person, f"/images/acme/shop:1.0/-/tag?tag={tag}", 400)
    for path in ("/images/acme/shop:none/-/tag?tag=x", "/images/acme/none:1/-/tag?tag=x"):
        await seen(person, path, 404)


async def test_an_immutable_tag_is_not_offered_to_move(
    live: LivePages, shop: Put, person: aiohttp.ClientSession
) -> None:
    await shop.image("1.0", "other")
    await shop.image("2.0", layer=b"two")
    await live.registry.metadata.set_rule(Rule("acme/*", immutable=("*.*",)), BY)
    page = await seen(person, "/images/acme/shop?by=pulled")
    assert page.count('aria-label="immutable"') == 2
    assert "immutable by the rule for acme/*" in await seen(person, "/images/acme/shop:2.0")
    page = await seen(person, "/images/acme/shop:2.0/-/tag?tag=1.0")
    assert "The tag 1.0 is immutable by the rule for acme/*." in page
    assert '<form method="post" action="/images/acme/shop:1.0/-/move"' not in page
    assert "it stays for good" in await seen(person, "/images/acme/shop:2.0/-/tag?tag=3.0")


async def test_who_may_only_pull_is_offered_no_tag_and_compares(live: LivePages, shop: Put) -> None:
    await shop.image("1.0")
    await shop.image("2.0", layer=b"two")
    await live.history.accounts.create_user("ann", PASSWORD, Role.USER)
    await live.history.accounts.grants.add("ann", "acme/*", ["pull"])
    async with live.browser(signed_in=False) as user:
        async with user.post("/login", data={"name": "ann", "password": PASSWORD}) as answer:
            assert answer.status == 200
        assert "/-/tag" not in await seen(user, "/images/acme/shop:1.0")
        await seen(user, "/images/acme/shop:1.0/-/tag?tag=x", 403)
        await seen(user, "/images/acme/shop/-/compare?a=1.0&b=2.0")
        await live.put("secret/app").image("1.0")
        await seen(user, "/images/secret/app/-/compare?a=1.0&b=1.0", 404)


async def test_the_platforms_of_an_index_are_told_unless_it_is_large(shop: Put, person: aiohttp.ClientSession) -> None:
    child = await shop.image()
    for tag, system, words in (("small", "plan9", ""), ("large", "haiku", "x" * (64 << 10))):
        about = {"mediaType": MANIFEST, "digest": child, "size": 400, "platform": {"os": system, "architecture": "arm"}}
        await shop.manifest({"manifests": [about], "annotations": {"words": words}}, [tag], INDEX)
    page = await seen(person, "/images/acme/shop")
    assert ("plan9/arm" in page, "haiku/arm" in page) == (True, False)
    assert "haiku/arm" in await seen(person, "/images/acme/shop:large")


async def test_a_repository_in_which_nothing_is_left_is_listed_no_more(
    live: LivePages, shop: Put, person: aiohttp.ClientSession
) -> None:
    digest = await shop.image("1.0")
    await live.registry.tags.delete(parse_reference("acme/shop:1.0"), BY)
    assert "acme/shop" in await seen(person, "/images")
    await live.registry.tags.delete(parse_reference(f"acme/shop@{digest}"), BY)
    for descriptor in (await shop.blob(b"layer", "x"), await shop.blob(json.dumps(program()).encode(), "x")):
        await live.history.images.unlink_blob("acme/shop", descriptor["digest"])
    assert "acme/shop" not in await seen(person, "/images")
    assert "1.0" in await seen(person, "/images/acme/shop/-/history")
    assert "What was here" in await seen(person, "/images/acme/shop")


async def test_a_mirror_is_told_as_such_and_takes_no_tags(
    live: LivePages, person: aiohttp.ClientSession, tmp_path: Path
) -> None:
    hub = RemoteRegistry("https://registry-1.docker.io")
    live.registry.upstreams = Upstreams([Upstream("docker.io", hub)], tmp_path / "arrivals")
    try:
        await live.put("docker.io/library/alpine").image("3.20")
        assert "A cache of https://registry-1.docker.io" in await seen(person, "/images")
        page = await seen(person, "/images/docker.io/library/alpine")
        assert "A cache of <code>library/alpine</code> at <code>https://registry-1.docker.io</code>" in page
        assert "/-/tag" not in await seen(person, "/images/docker.io/library/alpine:3.20")
    finally:
        await live.registry.upstreams.close()
