"""Where blobs lie: adapters of the storage port."""
