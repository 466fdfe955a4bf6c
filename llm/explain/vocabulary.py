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
WORDING = frozenset(
    """
    about account added against another answer bear been begin behind belong belongs besides between brand case categories choose
    compare compared comparison concerned connects consider considered considers count counterpart counts critical date decide do
    enough entry evidence exact facts far figure figures followed follows get given going held hence here hint how if interest into
    itself joined judge judged keep keeping kind know latter lead leads led let level like liking line link linked links list listed
    listing maker matter measured mentioned mind name near news note noted our over owner pair paper perhaps picked pieces point
    points price put puts quote quoted read reads reason reasons record records regard regards relate relation relevant remark
    reservation review reviewed reviewer's reviewers reviews same say says see seen sense sentence set should show side sides somebody
    speak speaking speaks stands start store store's take taken taking tell tells terms texts than them therefore these they things
    think though thought thus told us use view was way we weigh weighing whether whoever why wondered wondering word wording words
    writes
    """.split()
)
"""What a model that has learned to word reasons joins facts with, besides: it points to evidence, weighs it, or hedges."""

NEGATIONS = frozenset("not no any never without".split())
"""Words that would turn a fact around: a model writes none of them by itself."""

HEDGES = frozenset("could may might would perhaps".split())
"""Of these a sentence needs one where its facts are weak."""

OWNING = frozenset("have your yours already had".split())
"""Words that say that the shopper has what they did no more than look at."""

DOUBTING = frozenset("reservation reservations caution doubt complaint critical less".split())
"""Words that announce a complaint."""

RESERVING = DOUBTING | frozenset("though although but however still yet not other caveat against".split())
"""Words of which one must stand before a complaint that is quoted."""

VOICES = frozenset("reviewer reviewers reviewer's review reviews reviewed owner quoted quote".split())
"""Words that announce what somebody wrote: only a quotation may follow, or a figure would be put into a reviewer's mouth."""
