"""Which tags the rules for a repository keep; the others go.

verdicts   the decision, tag by tag. Pure
run        carries it out, page by page
pulls      when each manifest was last asked for, which some rules want to know
"""
