"""Words that a freely written reason may use without a fact: they relate, address, hedge and move; none states a property or praises.

"Light", "quiet" or "durable" are missing on purpose: such a word must be in a cited fact or in the store's own text of the item.
"""

PLAIN_WORDS = frozenset(
    """
    a about above across after again ago alike along alongside already also although am among an and another any anybody anyone anything
    apart are around as ask asked asks at away back be because become becomes been before began begin begins behind being belong belongs
    below beside besides between both bought bring brings brought but buy buyer buyers buying buys by call called came can case chance
    choice choose chose chosen come comes coming companion complete completes consider could count customer customers day days decide
    did different do does doing done down either else end ends especially even evening evenings example fact far fellow find finds first
    fit fits follow followed following follows for former found friend from further gave get gets getting give given gives go goes going
    got had hand happen happens has have having he hear heard help helps her here hers him his home how however i idea if in instead
    interest interested into is it item items its itself join just keep keeps kept kind know known later lead left let like likely line
    list look looked looking looks made make makes making many matter may maybe me mean means meant meet mention mentioned mentions
    might mind moment more morning move moved moving must my name named near nearby need needed needs next night now of off on once one
    ones only onto open or order other others our out over own owner owners owns pack pair pairs people perhaps person pick picked place
    plan planned planning plans point prepare prepared put puts rather reach read reader ready reason reasons recent recently remember
    report reported review reviewed reviewer reviewer's reviewers reviews saw say saying says season see seem seems seen sense set share
    shared shares she shop shopper shopper's shoppers shopping should show shown shows similar since so some somebody someone something
    sometimes soon sort stand start started starting starts stay step still stop store store's such suggest suggests suit suits sure
    take taken takes taking tell tells than thank that that's the their theirs them then there there's these they thing things think
    thinking this those though thought through time to today together told too took toward try turn until up upon us use used useful
    user users uses using usual usually view viewed visit want wanted wants was way ways we week weekend weeks well went were what
    what's whatever when where whether which while who whole whose why will wish with within wonder wondering word words work worked
    works worth would write writes written wrote year years yes yet you you'd you'll you're you've your yours yourself
    """.split()
)
