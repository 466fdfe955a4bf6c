"""The words that an explanation may join facts with: they relate things, and state nothing about them.

Adjectives that promise (waterproof, stylish, durable), places, people and numbers are left out on purpose: such a word may
stand in an explanation only when the evidence has it.
"""

JOINING = frozenset(
    """
    a an the this that these it its is are was be been being to of in on at with without from for by as and or so too also both
    you your yours what which who whom whose when while where once now then next soon later after before already still again
    can could may might will would should do does did has have had having
    go goes going come comes coming make makes making take takes get gets fit fits suit suits match matches belong belongs
    join joins follow follows complete completes complement complements round rounds add adds adding pair pairs work works
    need needs needed want wants wanted look looks looking think thinking consider considering bring brings use uses used using
    well together along alongside beside side useful handy natural sensible logical likely possible worth
    step addition companion choice pick idea thing things one ones part piece
    out off up more most many some other another same too often
    since because given if
    """.split()
)
"""What the model may choose from when it words the join."""

STORE = frozenset(
    """
    shopper shoppers people buyer buyers bought buy buys buying said say says saying wrote writes review reviews shopping
    times two usual share average price close description new there their them they among than not yet any category
    item items course courses film films
    """.split()
)
"""What the store's own clauses are made of, besides."""
