"""What a column of a table is about, by what it is called, and by its words where they say more than a name.

Belongs here: columns that hold no kinds of galaxies whatever their values are, and how a person has them taken for
classes. Does not belong here: which column is chosen (`columns`), numbers that are scores (`graded`), tables of votes
(`vote_tables`).
"""

import re
from collections.abc import Collection, Mapping

from galaxy_assets.deliveries.members import is_split
from galaxy_assets.deliveries.onboarding.label_words import FLAWS, are_yes_and_no, is_number, is_unknown, words

# whose columns hold what they said, or who they are
_ROLES = (
    "(rater|annotator|observer|classifier|labell?er|reviewer|scorer|grader|expert|astronomer|judge|inspector|"
    "volunteer)s?"
)
_ROLE = re.compile(_ROLES)
_PERSON = re.compile(
    rf"(user|person|who)(_?(id|name|ip))?|{_ROLES}_?(id|name|ip)|"
    "(classified|labell?ed|rated|scored|graded|inspected|reviewed|annotated|judged|vetted)_?by"
)
# of a column of yes and no: a flaw, or what an image is used for
_HOUSEKEEPING = re.compile(
    rf"\b({FLAWS}|clean|good|bad|poor|flags?|flagged|mask|masked|edge(?! on)|train|training|test|testing|val|valid|"
    r"validation|use|used|ok|quality|select|selected|done|checked|seen|detected)\b"
)
# the same, unless the name ends in a thing: primary_lens
_OF_IMAGES = re.compile(
    r"\b(samples?|subset|spec|spectr(a|um)|spectroscopy|specz|redshift|z|photometry|photoz|primary|observed|duplicated?|"
    r"complete|labell?ed|public|included?|excluded?|visible|available|matched|reliable|calibrated|reviewed|inspected|"
    r"image|cutout|field)\b"
)
_COUNTS = re.compile(
    r"(n|num|no|nr|nb|number|numbers)(_of)?_.+|(.+_)?(n|num|number|nr|counts?|multiplicity)|"
    r"n_?(comp(onent)?s?|src|sources?|ima?ge?s?|peaks?|obs|pix(els)?|exp|det|vis(its)?|sat(ellites)?|arms?)"
)
_KINDS = (
    r"(strong_?)?lens(e[ds]|ing)?|(post_?)?merg(ers?|ing)|rings?|ringed|bar(s|red)?|tails?|tidal|shells?|streams?|"
    r"bridges?|arcs?|arms?|"
    r"jets?|lobes?|wat|nat|bent|hymors?|hybrids?|orc|[xsz]_?shaped?|wings?|winged|relics?|remnants?|giants?|grg|halos?|"
    r"doubles?|triples?|pairs?|companions?|interact(ing|ions?)?|disturbed|collision(al)?|asymmetr(y|ic)|irregulars?|"
    r"agn|quasars?|qso|blazars?|seyferts?|starbursts?|jellyfish|voorwerp(je)?s?|green_?peas?|dust(_?lanes?|y)?|"
    r"overlap(s|ping)?|edge_?on|face_?on|spirals?|ellipticals?|lenticulars?|dis[ck]s?|bulges?|boxy|clump(s|y)?|"
    r"polar|warp(s|ed)?|supernovae?|novae?|transients?|fr_?i{1,2}|fr_?[012]|compact|lsbg?|dwarfs?|udg"
)
_THINGS = (
    rf"{_KINDS}|fr|anomal(y|ies|ous)|outliers?|odd|weird|strange|peculiar|unusual|rare|interesting|exotic|candidates?"
)
_THING = re.compile(rf"(.+_)?(is|has)?({_THINGS})(_.+)?")
_LAST = re.compile(rf"(.+_)?({_THINGS})")
# of values: those of things, and what only stands among classes
_KIND = re.compile(
    rf"(.+_)?(non?_?|not_?)?({_KINDS})|(early|late)(_types?)?|[el]tg|bcg|peculiars?|pec|irr|smooth(_.+)?|featured|round|"
    r"cigar(_shaped)?|in_between|edge|fri{0,2}0?cat|d?e\d?|sp|im|s(a|b|ab)?[0abcdm]{0,2}"
)
# that a name may have behind the thing
_FLAG = re.compile(r"_flags?$")
_IN = re.compile(
    r"(_(in|of))?_(images?|cutout|field|frame|galax(y|ies)|objects?|sources?|systems?)$|"
    r"_(visible|detected|observed|seen|present|confirmed)$"
)
_ABSENT = re.compile(r"((is|has)_?)?(no|non|not|without)_.+")
_SCORED = re.compile(r"score|interest(?!ing)|(^|_)(rating|grade)s?(_|$)|human_label")
_BEFORE, _BEHIND = re.compile(r"(is|has|have|contains?|shows?)_"), re.compile(r"_(yn|bool(ean)?|class|label|flags?)$")

# where, when, with what and by whom an image was taken, or in which list it is
_CONTEXT = (
    r"fields?|surveys?|telescop(es?)?|instrum(e|ents?)?|cameras?|detectors?|sensors?|spectrographs?|(wave|pass)?_?bands?|"
    r"filters?|filt|runs?|re_?runs?|cam_?cols?|plates?|fib(er|re)s?|tiles?|chips?|ccds?|amp(lifier)?s?|nights?|epochs?|"
    r"visits?|exposures?|exp_?num|dates?|mjd|(sub_?)?samples?|regions?|areas?|zones?|stripes?|strips?|hemispheres?|observers?|"
    r"observator(y|ies)|obs|catalog(ue)?s?|origin|provenance|releases?|dr|versions?|pointings?|patch(es)?|tracts?|"
    r"quadrants?|bricks?|healpix|mosaics?|dithers?|footprints?|missions?|facilit(y|ies)|projects?|program(me)?s?|"
    r"proposals?|sites?|stations?|beams?|frequenc(y|ies)|channels?|wavelengths?|batch(es)?|deliver(y|ies)|"
    r"constellations?|slits?|pipelines?|folders?|director(y|ies)|splits?|(k_?)?folds?|partitions?|subsets?|data_?sets?"
)
_TAIL = r"(_?\d+)?(_?(name|id|num|number|no|nr|code|key|idx|index|type|mode))?"
_SOURCE = r"((data|label|class|classification|image|img|morphology|redshift|catalog(ue)?)_)?(sources?|ref(erence)?s?)"
_OF_CONTEXT = re.compile(
    rf"(?!(is|has)_)(\w+_)?({_CONTEXT}){_TAIL}|{_SOURCE}(_name)?|"
    r"bib_?(code|ref)|years?|months?|hours?|seasons?|semesters?|"
    r"seeing|weather|airmass|countr(y|ies)|institut(e|ion)s?|(file|image|data|obs|exp)_?type"
)
_OF_ORDER = re.compile(
    r"(^|_)(priorit(y|ies)|prio|grad(es?|ing)|rank(s|ing)?|quality|qual|confidence|conf|interest(ingness)?|"
    r"certaint(y|ies)|importance|urgency|likelihood|reliability|ratings?|tiers?|relevance|plausibility|credibility|"
    r"probability|scores?)(_|\d|$)"
)
_OF_COMMENTS = re.compile(
    r"(.+_)?(comm?ents?|comm|remarks?|notes?|desc(ription)?s?|memo|free_?text|feedback|messages?)(_?\d+|_text)?"
)
# values that say which part of a sample an image belongs to, and what may stand beside them
_PART = re.compile(
    r"(train(ing)?|trn|tr|test(ing)?|tst|te|val(id(ation)?)?|va|dev(el(opment)?)?|hold ?out|held ?out|(k ?)?fold|cv|"
    r"eval(uation)?|train ?val)( ?(set|sample|split|data|fold|part))?( ?\d+| [a-z])?"
)
_OF_PARTS = re.compile(r"(^|_)((data_?|sub_?)?sets?|splits?|folds?|samples?|parts?|partitions?)(_|\d|$)")
_BESIDE_PARTS = re.compile(r"none|unused|not used|excluded?|extra|others?|public|private|blind|calib(ration)?|all|\d+")
# words of a name for classes, beside those of where, when, an order or comments; and values that are none all the same
_CLASSY = re.compile(r"(^|_)(class(es|ification)?|labels?|morph(ology)?|types?|kinds?)(_|\d|$)")
_NO_KINDS = re.compile(
    r"objects?|science|sci|light|flat( field)?|dark|bias|lamp|sky|calib(ration)?|standard|raw|stack(ed)?|co ?add(ed)?|"
    r"reduced|processed|single|mosaic|cutout|fits|png|jpe?g|tiff?|(very )?(low|medium|mid|high|good|bad|poor|sure)|"
    r"likely|fair|ok|excellent|possible|probable|certain|primary|secondary|main|extra|parent|control|random|real|mock|"
    r"simulat(ed|ions?)|[abcdx][+-]?|(v|dr|version)? ?\d[\d. ]*(st|nd|rd|th)?"
)
_SAY = {
    "part": (
        "says which part of a sample an image belongs to, and is left out",
        "say which part of a sample an image belongs to, and are left out",
    ),
    "context": (
        "says where, when or with what images were taken or listed, not what they show, and is left out",
        "say where, when or with what images were taken or listed, not what they show, and are left out",
    ),
    "order": ("holds an order and no classes, and is left out", "hold an order and no classes, and are left out"),
    "comment": ("holds comments, and is left out", "hold comments, and are left out"),
}
PASSED_OVER = frozenset(_SAY)
"""The words of `passed_over`."""


def snake(column: str) -> str:
    """The name of a column in lower case, its words joined by underscores, those of `LensProb` too."""
    return re.sub(r"\W+|(?<=[a-z])(?=[A-Z])", "_", column).lower().strip("_")


def names_people(column: str) -> bool:
    """Whether a column is called as one that says who classified or scored, or as such a person."""
    return says_who(column) or _ROLE.fullmatch(snake(column)) is not None


def says_who(column: str) -> bool:
    """Whether a column is called as one that says who classified or scored."""
    return _PERSON.fullmatch(snake(column)) is not None


def names_housekeeping(column: str) -> bool:
    """Whether a column of yes and no is called as one of flaws of images, or of what becomes of them."""
    name, thing = snake(column), _ends_in_thing(column)
    plain = (_IN.sub("", _FLAG.sub("", name)) if thing else name).replace("_", " ")
    return bool(_HOUSEKEEPING.search(plain)) or (not thing and bool(_OF_IMAGES.search(plain)))


def names_counts(column: str) -> bool:
    """Whether a column is called as one of counts: `n_source`, `num_images`."""
    return _COUNTS.fullmatch(snake(column)) is not None


def names_thing(column: str) -> bool:
    """Whether a column of 0 and 1 is called as a thing that is there or not: `is_lens`, `has_ring`, `merger`."""
    name = snake(column)
    return bool(_THING.fullmatch(name)) and not (_SCORED.search(name) or names_counts(column) or names_absence(column))


def _ends_in_thing(column: str) -> bool:
    """Whether the last word of a name is a thing, but `flag` and in what it is: `primary_lens`, `lens_in_field`."""
    return _LAST.fullmatch(_IN.sub("", _FLAG.sub("", snake(column)))) is not None


def names_absence(column: str) -> bool:
    """Whether a yes of a column says that a thing is not there: `not_lens`."""
    return _ABSENT.fullmatch(snake(column)) is not None


def names_context(column: str) -> bool:
    """Whether a column says where, when, with what or by whom images were taken, or in which list or part they are."""
    return _OF_CONTEXT.fullmatch(snake(column)) is not None


def describes(column: str) -> bool:
    """Whether a column of comments is called as one that describes a class: `class_description`, and not `notes`."""
    name = snake(column)
    return "desc" in name or _CLASSY.search(name) is not None


def thing_of(column: str) -> str:
    """What a yes of a column says that an image shows: `lens` of `is_lens`."""
    name = snake(column)
    return _BEHIND.sub("", _BEFORE.sub("", name)) or name


def passed_over(column: str, labels: Collection[str]) -> str | None:
    """Why a column whose values might be classes is none unless a person says so.

    Parameters
    ----------
    column : str
        Its name.
    labels : Collection of str
        Its different values.

    Returns
    -------
    str or None
        `part`, `context`, `order` or `comment`, for `left_out`; None where it may hold classes.

    Examples
    --------
    >>> from galaxy_assets.deliveries.onboarding.column_names import passed_over
    >>> passed_over("set", ["train", "test"]), passed_over("telescope", ["HST"]), passed_over("morph", ["E", "S"])
    ('part', 'context', None)
    """
    name = snake(column)
    parts = {words(label) for label in labels if is_split(words(label)) or _PART.fullmatch(words(label))}
    beside = (words(label) in parts or _BESIDE_PARTS.fullmatch(words(label)) or is_unknown(label) for label in labels)
    if (len(parts) > 1 or (parts and _OF_PARTS.search(name))) and all(beside):
        return "part"
    if _ends_in_thing(column) and not names_absence(column) and are_yes_and_no(labels, True):
        return None
    if holds_kinds(labels):
        return None
    if names_context(column) and not (_CLASSY.match(name) and _are_free(name, labels)):
        return "context"
    if _OF_ORDER.search(name):
        return "order"
    return "comment" if _OF_COMMENTS.fullmatch(name) else None


def may_hold_kinds(column: str, labels: Collection[str]) -> bool:
    """Whether a column that is passed over by its name is taken for classes where there is no other.

    Parameters
    ----------
    column : str
        Its name.
    labels : Collection of str
        Its different values.

    Returns
    -------
    bool
        Its name has a word for classes too, and the values are words that may be some.

    Examples
    --------
    >>> from galaxy_assets.deliveries.onboarding.column_names import may_hold_kinds
    >>> may_hold_kinds("image_type", ["E", "disc"]), may_hold_kinds("image_type", ["FLAT", "DARK"])
    (True, False)
    """
    name = snake(column)
    classy = _CLASSY.search(name) is not None and _are_free(name, labels)
    return len(_in_words(labels)) > 1 and not are_yes_and_no(labels, False) and classy


def _in_words(labels: Collection[str]) -> list[str]:
    """The labels that say something in words, as `words` has them."""
    return [words(one) for one in labels if not (is_unknown(one) or is_number(one))]


def _are_free(name: str, labels: Collection[str]) -> bool:
    """Whether no value is a word of where, when or an order, nor the name that of where the values are from."""
    return not re.fullmatch(_SOURCE, name) and not any(map(_NO_KINDS.fullmatch, _in_words(labels)))


def holds_kinds(labels: Collection[str]) -> bool:
    """Whether most values, and more than one, are words for kinds of galaxies, whatever their column is called."""
    said = _in_words(labels)
    kinds = sum(_KIND.fullmatch(one.replace(" ", "_").replace("-", "_")) is not None for one in said)
    return kinds > 1 and 2 * kinds > len(said)


def left_out(columns: Mapping[str, str], values: Mapping[str, Collection[str]]) -> list[str]:
    """What to say of columns that are passed over, and how a person has one taken for classes.

    Parameters
    ----------
    columns : mapping of str to str
        Each with its word of `passed_over`.
    values : mapping of str to Collection of str
        The different values of each.

    Returns
    -------
    list of str
        A sentence for all of a kind; without the full stop.
    """
    said = []
    for kind, (one, several) in _SAY.items():
        names = [name for name, why in columns.items() if why == kind]
        if not names:
            continue
        says = several if len(names) > 1 else one
        if kind == "order":
            written = any(not is_number(label) for name in names for label in values[name])
            says += ": write them as numbers, the highest for the best, and" if written else ":"
            says += " import them as scores with `galaxy-assets labels import`"
        example = f" ({', '.join([*values[names[0]]][:4])})" if kind in ("part", "order") else ""
        if len(names) > 1:
            remedy = "if one of them does hold classes, name it with --label-column"
            said.append(f"columns {', '.join(names)} {says}; {remedy}")
        else:
            said.append(f"column {names[0]}{example} {says}; if it does hold classes, give --label-column {names[0]}")
    return said
