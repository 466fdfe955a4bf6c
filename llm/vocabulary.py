"""The words that an explanation may join facts with: they relate things, and state nothing about them.

Adjectives that promise (waterproof, stylish, durable), places, people and numbers are left out on purpose: such a word may
stand in an explanation only when the evidence has it.
"""

JOINING = frozenset(
    """
    a an the this that it its is are be to of in on at with for by as and or so too also both
    you your what which who when while once now then there next soon later after before already still
    can could may might will would has have had having
    go goes come comes fit fits suit suits complete completes complement complements round rounds add adds adding work works
    need needs want wants look looking thinking considering
    well together along alongside beside useful handy natural sensible logical
    worth step addition companion choice pick thing one first
    off up more since because are those something likely
    """.split()
)
"""Words that relate."""

STORE = frozenset(
    """
    shopper shoppers reviewer bought rated looked said wrote from where there
    first second two other times usual share close description not yet any category item
    """.split()
)
"""What the store's own clauses are made of, besides."""
