"""The grammar's phrases. ``*verb`` is conjugated, ``{slot}`` filled from the spec, ``word/POS`` overrides the lexicon.

Keys are ``action`` or ``action.variant`` (see ``grammar.variant``); per key a row of *primary* phrases (they use the
concept's keyword), of *synonyms*, and of *implicit* phrases that describe the movement without the keyword.
"""

from __future__ import annotations

Row = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]

PHRASES: dict[str, Row] = {
    "walk.forward": (
        ("*walk forward {pace}", "*walk {pace} forward in a straight line", "*walk ahead {pace}"),
        ("*stroll forward {pace}", "*take {n} steps forward {pace}", "*move forward on foot {pace}"),
        ("*set one foot before the other {pace}",),
    ),
    "walk.curve": (
        ("*walk in a curve to the {way} {pace}", "*walk {pace} in an arc to the {way}"),
        ("*stroll {pace} in a curve to the {way}", "*take {n} steps in an arc to the {way}"),
        ("*set one foot before the other and *move to the {way} {pace}",),
    ),
    "run.forward": (
        ("*run forward {pace}", "*run {pace} straight ahead", "*run {pace} in a straight line"),
        ("*jog forward {pace}", "*sprint ahead {pace}", "*go for a run/NOUN {pace}"),
        ("*rush forward with long bouncing strides", "*dash ahead with bent arms and long strides"),
    ),
    "run.curve": (
        ("*run in a curve to the {way} {pace}", "*run {pace} in an arc to the {way}"),
        ("*jog {pace} in a curve to the {way}", "*sprint in an arc to the {way}"),
        ("*rush in an arc to the {way} with long bouncing strides",),
    ),
    "jump.spot": (
        ("*jump {high} in the air {times}", "*jump {high} on the spot {times}", "*jump up {times}"),
        ("*leap up {high} {times}", "*leap {high} in the air {times}"),
        ("*push off with both feet and *fly up in the air {times}", "*leave the floor with both feet {times}"),
    ),
    "jump.forward": (
        ("*jump forward {times}", "*jump {high} forward with both feet {times}", "*jump ahead {times}"),
        ("*leap forward {times}", "*leap ahead with both feet {times}"),
        ("*push off with both feet and *land farther ahead {times}",),
    ),
    "hop.spot": (
        ("*hop on the {side} leg {times}", "*hop in place on {poss} {side} foot {times}"),
        ("*bounce on the {side} leg {times}", "*bounce in place on one leg"),
        ("*hold one foot up and *spring off the {side} foot {times}",),
    ),
    "hop.forward": (
        ("*hop forward on the {side} leg {times}", "*hop ahead on {poss} {side} foot {times}"),
        ("*bounce forward on the {side} leg {times}", "*bounce ahead on one leg"),
        ("*hold one foot up and *spring forward off the {side} foot {times}",),
    ),
    "kick.forward": (
        (
            "*kick {high} with {poss} {side} leg {times} {pace}",
            "*kick forward with the {side} foot {times} {pace}",
            "*kick {times} with the {side} leg {pace}",
        ),
        (
            "*perform a {high} front kick/NOUN with the {side} leg {times}",
            "*do a {side} kick/NOUN {times}",
            "*boot something with {poss} {side} foot {times}",
        ),
        (
            "*swing the {side} leg up in front of the body {times} {pace}",
            "*lift the {side} knee and *snap the foot forward {times}",
        ),
    ),
    "kick.side": (
        (
            "*kick to the side with {poss} {side} leg {times} {pace}",
            "*kick sideways with the {side} foot {times} {pace}",
        ),
        ("*perform a side kick/NOUN with the {side} leg {times}", "*do a {side} side kick/NOUN {times}"),
        ("*thrust the {side} foot out to the side {times} {pace}",),
    ),
    "kick.back": (
        ("*kick backward with {poss} {side} leg {times} {pace}", "*kick behind with the {side} foot {times} {pace}"),
        ("*perform a back/ADJ kick/NOUN with the {side} leg {times}", "*do a {side} back/ADJ kick/NOUN {times}"),
        ("*thrust the {side} foot out behind the body {times} {pace}",),
    ),
    "punch.one": (
        (
            "*punch with {poss} {side} hand {times} {pace}",
            "*punch forward {times} with the {side} fist {pace}",
            "*punch {times} with the {side} arm {pace}",
        ),
        (
            "*jab with the {side} fist {times}",
            "*do a {side} punch/NOUN {times}",
            "*strike forward with the {side} fist {times}",
        ),
        ("*shoot the {side} fist straight out from the shoulder {times} {pace}",),
    ),
    "punch.both": (
        (
            "*punch {times} with both hands one after the other {pace}",
            "*punch {times} with the left and right fist {pace}",
        ),
        ("*jab {times} with both fists {pace}", "*strike forward with both fists {times}"),
        ("*shoot both fists out from the shoulder one after the other {pace}",),
    ),
    "throw": (
        (
            "*throw something with {poss} {side} hand {pace}",
            "*throw a ball with the {side} arm {pace}",
            "*throw {pace} with the {side} hand",
        ),
        ("*toss a ball with the {side} hand {pace}", "*hurl something forward with the {side} arm"),
        ("*bring the {side} hand behind the head and *whip it forward {pace}",),
    ),
    "wave.one": (
        (
            "*wave with {poss} {side} hand {pace}",
            "*wave {poss} {side} hand {pace}",
            "*wave hello with the {side} arm {pace}",
        ),
        ("*greet someone with the {side} hand {pace}", "*signal with the {side} hand {pace}"),
        ("*swing the {side} hand from side to side above the shoulder {pace}",),
    ),
    "wave.both": (
        ("*wave with both hands {pace}", "*wave both arms {pace}", "*wave {poss} hands above the head {pace}"),
        ("*greet someone with both hands {pace}", "*signal with both arms {pace}"),
        ("*swing both hands from side to side above the shoulders {pace}",),
    ),
    "clap": (
        ("*clap {poss} hands {times} {pace}", "*clap {times} {pace}", "*clap {pace} in front of the chest {times}"),
        ("*applaud {pace}", "*applaud with both hands {times}"),
        ("*bring the palms together in front of the chest {times} {pace}",),
    ),
    "squat": (
        (
            "*squat {deeply} {times} {pace}",
            "*squat down {deeply} and *stand up {times} {pace}",
            "*do a {low} squat/NOUN {times} {pace}",
        ),
        ("*do a deep knee bend/NOUN {times} {pace}", "*perform a {low} squat/NOUN {times}"),
        ("*lower the hips to the knees and *come up {times} {pace}",),
    ),
    "bow": (
        (
            "*bow {deeply} {times} {pace}",
            "*bow forward {deeply} {times} {pace}",
            "*take a {low} bow/NOUN {times} {pace}",
        ),
        ("*give a {low} bow/NOUN {times}", "*bow respectfully {times}"),
        ("*lean the upper body forward from the waist and *straighten {times} {pace}",),
    ),
    "sit.down": (
        ("*sit down on a chair {pace}", "*sit down {pace}", "*sit {pace} on a seat"),
        ("*take a seat {pace}", "*settle on a chair {pace}"),
        ("*lower the hips back/ADV and *rest on a chair {pace}",),
    ),
    "sit.up": (
        ("*sit down on a chair and *stand up {pace}", "*sit down and *get up {pace}"),
        ("*take a seat and *get up {pace}", "*settle on a chair and *rise {pace}"),
        ("*lower the hips back/ADV to *rest/BASE on a chair and *rise {pace}",),
    ),
    "turn.spot": (
        (
            "*turn {angle} to the {side} {pace}",
            "*turn {side} {angle} on the spot {pace}",
            "*turn {angle} to {poss} {side} {pace}",
        ),
        ("*rotate {angle} to the {side} {pace}", "*pivot {angle} to the {side} {pace}"),
        ("*step around {poss} own axis to face another way",),
    ),
    "turn.around": (
        ("*turn around to the {side} {pace}", "*turn around over the {side} shoulder {pace}"),
        ("*rotate half a circle to the {side} {pace}", "*pivot around to the {side} {pace}"),
        ("*step about to face the opposite way",),
    ),
    "turn.circle": (
        ("*turn in a full circle to the {side} {pace}", "*turn all the way around to the {side} {pace}"),
        ("*spin in a circle to the {side} {pace}", "*rotate once around to the {side} {pace}"),
        ("*step around {poss} own axis until facing ahead again",),
    ),
    "turn.walk": (
        ("*walk forward and *turn {angle} to the {side}", "*walk then *turn {angle} to the {side} and *walk on"),
        ("*walk ahead then *rotate {angle} to the {side} and *walk on",),
        ("*walk ahead then *face another way on the {side} and *walk on",),
    ),
    "raise_arms.one": (
        ("*raise {poss} {side} arm {through} {pace}", "*raise the {side} hand over the head {pace}"),
        ("*lift the {side} arm {through} {pace}", "*lift {poss} {side} hand over the head {pace}"),
        ("*reach for the ceiling with the {side} hand", "*stretch the {side} hand up high {pace}"),
    ),
    "raise_arms.both": (
        ("*raise both arms {through} {pace}", "*raise {poss} arms over the head {pace}", "*raise both hands {pace}"),
        ("*lift both arms {through} {pace}", "*lift {poss} hands over the head {pace}"),
        ("*reach for the ceiling with both hands", "*stretch both hands up high {pace}"),
    ),
    "step_sideways": (
        (
            "*step sideways to the {side} {times} {pace}",
            "*step to the {side} {times} {pace}",
            "*side-step to the {side} {times} {pace}",
        ),
        ("*shuffle to the {side} {times} {pace}", "*shift sideways to the {side} {times}"),
        ("*open the {side} foot and *close with the other {times}",),
    ),
    "stand": (
        ("*stand still", "*stand in place", "*stand upright and *look around", "*stand and *wait"),
        ("*remain in place", "*wait on the spot", "*stay still"),
        ("*keep both feet on the floor and *look around",),
    ),
    "march.spot": (
        ("*march in place {pace}", "*march on the spot with high knees {pace}"),
        ("*parade in place {pace}", "*stomp on the spot with high knees {pace}"),
        ("*lift one knee after the other on the spot {pace}",),
    ),
    "march.forward": (
        ("*march forward {pace}", "*march ahead with high knees {pace}"),
        ("*parade forward {pace}", "*stomp ahead with high knees {pace}"),
        ("*lift one knee after the other and *move ahead {pace}",),
    ),
    "crouch_walk": (
        ("*walk forward in a crouch/NOUN {pace}", "*crouch and *walk forward {pace}", "*walk crouched {pace}"),
        ("*sneak forward {pace}", "*creep ahead with bent knees {pace}"),
        ("*move ahead with the body close to the floor {pace}",),
    ),
    "walk_backwards": (
        ("*walk backward {pace}", "*walk backwards {pace}", "*walk {pace} in reverse"),
        ("*back/VERB away {pace}", "*take {n} steps backward {pace}"),
        ("*set one foot behind the other {pace}",),
    ),
}
