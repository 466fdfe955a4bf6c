"""The English table of use mining. Words only; `phrases.py` has the patterns."""

from __future__ import annotations

from .language import UseLanguage

_DETERMINERS = (
    "a an the my your our their his her its this that these those any each every some all both another other such one's someone's"
)
_GENERAL_ADJECTIVES = (
    "new old good great nice little big small large long short quick busy own next whole entire daily regular "
    "occasional simple real same "
    "favorite favourite perfect extra many few several most general serious casual basic normal usual average actual upcoming recent "
    "last first-time lovely beautiful wonderful amazing special particular certain different various just even those very really only "
    "two three four five six seven eight nine ten hot medium tiny full thin narrow bright dim wet sudden chilly deep high low unlit rainy"
)
_FUNCTION_WORDS = (
    f"{_DETERMINERS} i you he she it we they me him us them mine yours is are was were be been being am do does did done has have had "
    "having will would can could shall should may might must to of in on at by for with from into onto over under about as than then "
    "and or but nor so if because while when where which who whom whose what why how that though although since until unless without "
    "within through during before after between against out off up down not no never there here also too very just only again once "
    "still already yet now more most less much like don't doesn't didn't isn't wasn't can't couldn't won't wouldn't i'm i've it's that's "
    "they're you're we're i'd i'll one"
)
_ACTIVITIES = {
    "travelling": "travel travels traveling travelling traveled travelled",
    "camping": "camp camps camping camped",
    "hiking": "hike hiking hiked hikes",
    "backpacking": "backpacking",
    "trekking": "trek trekking treks",
    "running": "run running jog jogging",
    "cycling": "cycle cycling biking",
    "swimming": "swim swimming",
    "fishing": "fish fishing",
    "hunting": "hunting",
    "kayaking": "kayak kayaking",
    "skiing": "ski skiing snowboarding",
    "climbing": "climbing",
    "surfing": "surfing",
    "golfing": "golf golfing",
    "skating": "skating",
    "riding": "horseback-riding",
    "dancing": "dancing",
    "yoga": "yoga pilates",
    "exercising": "exercise exercising exercises workout workouts",
    "stretching": "stretching",
    "weightlifting": "weightlifting powerlifting",
    "physical therapy": "physiotherapy rehab",
    "gardening": "garden-work gardening",
    "weeding": "weeding weed",
    "digging": "digging",
    "planting": "planting repotting",
    "pruning": "pruning",
    "watering": "watering",
    "mowing": "mowing",
    "cooking": "cook cooking",
    "baking": "bake baking",
    "grilling": "grill grilling barbecuing bbq barbecue barbecues",
    "canning": "canning",
    "meal prep": "meal-prep",
    "cleaning": "cleaning",
    "vacuuming": "vacuuming",
    "ironing": "ironing",
    "laundry": "laundry",
    "washing up": "dishwashing",
    "painting": "painting",
    "renovating": "renovating redecorating renovation remodeling",
    "moving house": "moving-house",
    "tiling": "tiling",
    "sanding": "sanding",
    "woodworking": "woodworking carpentry",
    "soldering": "soldering",
    "welding": "welding",
    "sewing": "sew sewing",
    "quilting": "quilting",
    "knitting": "knit knitting crocheting crochet",
    "crafting": "craft crafting crafts scrapbooking",
    "drawing": "drawing sketching coloring colouring",
    "writing": "writing journaling",
    "reading": "read reading",
    "studying": "study studying homework",
    "teaching": "teach teaching homeschooling homeschool",
    "gaming": "gaming",
    "streaming": "streaming",
    "recording": "recording",
    "podcasting": "podcasting",
    "video calls": "videoconferencing",
    "practising music": "practicing practising rehearsing rehearsal rehearsals",
    "meditating": "meditate meditating meditation",
    "photography": "photography",
    "filming": "filming vlogging videography",
    "commuting": "commute commuting commutes",
    "driving": "drive driving",
    "flying": "fly flying",
    "walking": "walk walking",
    "sightseeing": "sightseeing",
    "shopping": "shopping",
    "sleeping": "sleep sleeping",
    "relaxing": "relax relaxing relaxation unwinding",
    "shaving": "shave shaving",
    "showering": "shower showering",
    "bathing": "bathing",
    "contouring": "contouring",
    "nursing": "breastfeeding nursing",
    "teething": "teething",
    "potty training": "potty-training",
    "dog training": "dog-training",
    "entertaining": "entertaining",
    "decorating": "decorating",
    "gifting": "gift gifts gifting present presents",
    "self-defence": "self-defense self-defence",
    "survival": "survival prepping",
    "geocaching": "geocaching",
    "boating": "boating sailing",
    "tailgating": "tailgating tailgate",
    "birdwatching": "birdwatching birding",
    "stargazing": "stargazing astronomy",
    "cosplay": "cosplay",
    "roleplaying": "role-playing roleplaying",
    "pottery": "pottery",
    "brewing": "homebrewing",
    "networking": "networking",
    "programming": "programming coding",
    "soundproofing": "soundproofing",
    "first aid": "first-aid",
}
_HEADS = {
    "occasion": (
        "party birthday wedding anniversary christmas halloween easter thanksgiving hanukkah valentine graduation christening "
        "picnic barbecue holiday vacation getaway trip weekend flight voyage cruise road-trip safari "
        "pilgrimage honeymoon sleepover "
        "festival concert gig marathon half-marathon triathlon race tournament hike walk workout meeting call presentation exam "
        "commute winter summer spring autumn fall rain snow storm blizzard hurricane emergency blackout downpour drizzle "
        "bedtime bathtime naptime mealtime storytime playtime lunchtime dinner breakfast lunch supper brunch potluck "
        "parade recital prom date pregnancy postpartum surgery recovery hospital-stay travel school preschool kindergarten college "
        "class lesson nap feeding feed bath show-and-tell fete buffet outing excursion "
        "gathering celebration convention funeral ceremony reunion cookout"
    ),
    "task": ("chore repair housework manicure pedicure haircut massage facial diy detailing hairstyling"),
    "place": (
        "garden balcony terrace patio backyard yard lawn greenhouse allotment raised-bed office cubicle desk workbench workshop garage "
        "shed basement attic nursery bathroom bedroom kitchen pantry laundry-room hallway hall studio dorm flat apartment condo "
        "cottage cabin hut campsite campground tent hostel hotel motel airport plane aeroplane airplane train bus car truck "
        "suv van rv camper motorhome boat kayak canoe bike bicycle motorcycle pool hot-tub beach lake river sea ocean pond forest woods "
        "trail mountain wilderness park playground gym classroom library hospital clinic restaurant church stage nightstand bathtub "
        "sofa couch living-room mancave playroom windowsill fireplace campfire tub suitcase "
        "backpack rucksack stroller pushchair pram crib cot daycare nursery-school dorm-room porch deck driveway barn farm festival "
        "museum seaside riverbank meadow"
    ),
    "person": (
        "baby newborn infant toddler child kid teenager teen boy girl grandchild grandson granddaughter nephew niece son daughter "
        "mother mom mum dad father grandmother grandma grandfather grandpa wife husband boyfriend girlfriend sister brother friend "
        "parent grandparent couple family teacher nurse student beginner novice runner hiker cyclist commuter camper "
        "traveler traveller gardener "
        "baker cook musician guitarist drummer pianist singer gamer reader collector photographer artist crafter quilter knitter "
        "senior elderly dog puppy cat kitten pet horse rabbit hamster parrot bird guest visitor roommate coworker colleague "
        "hairdresser stylist electrician carpenter "
        "athlete swimmer dancer hunter angler fisherman preschooler kindergartner classmate "
        "sleeper side-sleeper musician vegetarian vegan diabetic bodybuilder"
    ),
    "need": (
        "allergy asthma eczema acne psoriasis rosacea dandruff arthritis migraine headache insomnia anxiety stress constipation "
        "indigestion heartburn nausea diarrhea inflammation cramp sunburn wrinkle blemish diabetes fibromyalgia neuropathy sciatica "
        "tendonitis bunion cellulite incontinence colic rash privacy"
    ),
}
_MODIFIED_HEADS = {
    "occasion": "night day evening morning afternoon time season event tour ride run date shift visit stay cut outage",
    "task": "training practice project repair removal prep decoration decorating session",
    "place": "room home space shop school station path road",
    "person": "lover fan owner player enthusiast rider walker driver worker",
    "need": "skin hair scalp nail lip foot heel pain ache relief knee shoulder neck joint muscle",
}
_SYNONYMS = {
    "child": "kid grandkid",
    "mother": "mom mum",
    "father": "dad",
    "grandmother": "grandma",
    "grandfather": "grandpa",
    "flat": "apartment condo",
    "newborn": "infant",
    "flight": "plane airplane aeroplane voyage",
    "sofa": "couch",
    "pushchair": "stroller pram",
    "holiday": "vacation getaway",
    "backpack": "rucksack",
    "garden": "yard backyard",
    "camper": "rv motorhome",
    "campsite": "campground",
    "colleague": "coworker",
    "teenager": "teen",
    "autumn": "fall",
    "bicycle": "bike",
    "bathtub": "tub",
    "terrace": "patio",
    "beginner": "novice",
    "sea": "ocean seaside",
    "picnic": "cookout",
    "trail": "wilderness",
    "hotel": "motel",
    "film": "movie",
    "cut": "outage",
    "forest": "woods",
    "traveller": "traveler",
    "truck": "suv van",
    "trip": "outing excursion",
}
_MODIFIERS = (
    "dry oily sensitive curly fine thick frizzy damaged colored coloured natural wavy combination aging mature "
    "acne-prone cracked brittle "
    "sore stiff tired itchy flaky chapped puffy gray grey textured bleached straight small tight tiny shared "
    "rented power road open-plan film movie back neck knee muscle joint"
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ENGLISH = UseLanguage(
    name="English",
    function_words=_words(_FUNCTION_WORDS),
    skipped=_words(f"{_DETERMINERS} {_GENERAL_ADJECTIVES}"),
    prepositions={
        "occasion": _words("for on during at in after before through between"),
        "task": _words("for during while after before"),
        "place": _words("for in on at around beside"),
        "person": _words("for"),
        "need": _words("for against with"),
    },
    certain=_words("for during while against"),
    heads={kind: _words(words) for kind, words in _HEADS.items()},  # type: ignore[misc]
    modified_heads={kind: _words(words) for kind, words in _MODIFIED_HEADS.items()},  # type: ignore[misc]
    modifiers=_words(_MODIFIERS),
    activities={form: name for name, forms in _ACTIVITIES.items() for form in forms.split()},
    phrases={
        "on the go": ("on the go", "occasion"),
        "on the road": ("on the road", "occasion"),
        "at work": ("at work", "place"),
        "for work": ("at work", "place"),
        "ride to work": ("the way to work", "occasion"),
        "rides to work": ("the way to work", "occasion"),
        "drive to work": ("the way to work", "occasion"),
        "way to work": ("the way to work", "occasion"),
        "bike to work": ("the way to work", "occasion"),
        "walk to work": ("the way to work", "occasion"),
        "at school": ("school", "place"),
        "at night": ("at night", "occasion"),
        "in bed": ("in bed", "place"),
        "on vacation": ("holiday", "occasion"),
        "on holiday": ("holiday", "occasion"),
        "home office": ("home office", "place"),
        "first flat": ("first flat", "occasion"),
        "first apartment": ("first flat", "occasion"),
        "own flat": ("first flat", "occasion"),
        "stocking stuffer": ("stocking stuffer", "occasion"),
        "stocking stuffers": ("stocking stuffer", "occasion"),
        "in the dark": ("in the dark", "occasion"),
        "when it rains": ("rain", "occasion"),
        "moving house": ("moving house", "task"),
        "moving out": ("moving house", "task"),
        "moving day": ("moving house", "task"),
    },
    subjects=_words("i you we they he she people you're i'm we're"),
    conjunctions=_words("when while for after before whenever during"),
    particles=_words("out low into over through across away off down up around back"),
    companions=_words("go goes going went take takes took taking"),
    negations=_words(
        "not no never don't doesn't didn't isn't wasn't can't cannot couldn't won't wouldn't useless hardly without except too instead "
        "unscrews apart disassembles disassemble removable detachable hope hoped aren't weren't nothing unsuitable "
        "neither nor shouldn't impossible poor bad terrible wrong unless"
    ),
    complaints=_words(
        "too unfortunately disappointed disappointing returned returning refund broke broken stopped failed waste "
        "worthless useless however hurts smaller harder hesitant "
        "wouldn't won't wish"
    ),
    affirmations=_words("only just"),
    separators=_words(", and or & / plus as well"),
    usage=_words(
        "use used uses using wear wears worn wearing wore perfect great ideal handy useful works work worked fits fit "
        "keep keeps kept bring "
        "brought take takes took carry carries carried good excellent best helps help helped lives goes bought buy need needed needs "
        "love convenient comfortable easy put plug charge charges hang hangs store stores stored survives survived "
        "holds travels designed "
        "made suitable enough looks sits stands rolls serve serves cover covers"
    ),
    ambiguous=_words(
        "flat spring drive facial exam class presentation stage vegan rabbit chicken reader yard sea mountain horse "
        "bird shower recovery fall "
        "project repair school church gig gift gifts present presents family friend cat race write weed fish exercise "
        "run jog playtime backyard "
        "plane girl boy couple "
        "camper commuter cabin deck walk trail dad mom mother father son student artist lake winter summer's summer "
        "flight fly nap call tub hall cot "
        "date meal dinner lunch breakfast surgery stress storm snow hurricane emergency privacy allergy cruise concert trip dance dig "
        "train bus pond forest kitten chore interview college running-water read studying wrinkle forest track reading bath"
    ),
    followers=_words(
        "works fits keeps sleeps sits stands looks goes comes stays lives makes gets helps loves uses wants needs runs rides easily well "
        "alike perfectly alone together instead everywhere everyday anywhere tonight today"
    ),
    speakers=_words(
        "i my me we our us you your this these it they mine i've i'm it's great perfect good nice excellent ideal "
        "works bought purchased use used"
    ),
    story=_words(
        "story stories novel book books movie film films movies character characters plot episode author chapter series song songs album "
        "read heroine hero actor actress scene scenes soundtrack album cd dvd graphics gameplay storyline kindle town married murder "
        "killed died detective"
    ),
    story_categories=_words("books book movies music cds vinyl dvd kindle magazine magazines video films software"),
    plurals=(("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("sses", "ss"), ("xes", "x"), ("ses", "s"), ("s", "")),
    irregular={"children": "child", "women": "woman", "men": "man", "people": "person", "feet": "foot", "wives": "wife", "loaves": "loaf"},
    synonyms={form: name for name, forms in _SYNONYMS.items() for form in forms.split()},
)
