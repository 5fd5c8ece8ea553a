#!/usr/bin/env python3
"""Writes book.txt beside itself: a novel of nonsense, the same bytes on every run.

    python3 make_book.py            write it
    python3 make_book.py --check    say whether the one that is there is what would be written
"""
import pathlib
import random
import re
import sys

BOOK = pathlib.Path(__file__).with_name("book.txt")
SIZE = 800_000  # bytes, roughly: whole chapters

PEOPLE = "Zoë Maud Irenäus Clementine Ødger Petra Thibaut Ines Łucja Barnaby Sunniva Œnone Hektor Mireille Anselm Brânduşa".split()
PLACES = """the harbour|the old observatory|the tram depot|the salt works|the upper gallery|the botanical garden|the weather station|
the ferry|the night market|the lighthouse|the printing house|the café by the lock|the reading room|the quarry|the clock tower|
the customs shed|the glass house|the cistern|the orchard|the signal box""".replace("\n", "").split("|")
THINGS = """ledger|barometer|brass key|lantern|sealed letter|map|violin case|kettle|tide table|telegram|ladder|compass|clock|umbrella|
parcel|bell rope|seed drawer|photograph|ferry ticket|teapot|rope|notebook|spyglass|weather balloon|coat""".replace("\n", "").split("|")
QUALITIES = """quiet|brittle|patient|crooked|pale|heavy|forgotten|narrow|borrowed|silver|damp|unsigned|stubborn|warm|nameless|
early|hollow|careful|salt-stained|ordinary|distant|half-open|faded|curious|unhurried""".replace("\n", "").split("|")
WEATHER = """rain|fog|a dry wind|the first frost|thin sunlight|hail|low cloud|the smell of tar|a warm drizzle|snow""".split("|")
DEEDS = """carried|mended|hid|measured|counted|drew|polished|weighed|remembered|described|lost|found|wrapped|returned|examined|
misplaced|copied|opened|closed|admired""".replace("\n", "").split("|")
MANNERS = """slowly|without a word|twice|by candlelight|against all advice|as before|with great care|for the last time|
in the usual way|before breakfast|almost by accident|with both hands""".replace("\n", "").split("|")
SAYINGS = """It will not hold until morning|Nobody asked for the {thing}|You have mistaken the day again|I counted them all, and one is missing|
The {thing} was never ours|Then we leave by {place}|There is a simpler explanation|Ask {other}, who was there|We could wait for {weather} to pass|
I have read the last page already|It sounded like a {quality} {thing}|Nothing is lost that is written down|
The tide doesn't read tide tables|Somebody has moved the {thing}|That is what {other} said, and look""".replace("\n", "").split("|")
SPOKEN = "said|answered|murmured|replied|insisted|whispered|remarked|admitted".split("|")
TOLD = """{who} {deed} the {quality} {thing} {manner}|{weather} came over {place}, and {who} {deed} the {thing}|
by noon {place} was {quality}, and so was {who}|the {thing} stood where {other} had left it, {quality} and {quality2}|
{who} had never liked {place}; {other} had never left it|what {other} {deed} {manner}, {who} {deed2} again on the way home|
nothing in {place} was as {quality} as the {thing} that {who} had {deed}|there was {weather}, and a {quality} {thing}, and no sign of {other}|
{who} thought of {other}, of {place}, and of the {quality} {thing}|a {quality} {thing} is worth more than a {quality2} one, as {other} liked to say|
in those years {who} {deed} every {thing} in {place} {manner}|they {deed} the {thing}, then {deed2} it, and {who} went back to {place}|
it took {number} days to reach {place}, and {weather} on each of them|{who} put the {thing} down—it was {quality}—and listened|
the {quality} door of {place} opened, and {other} came in with the {thing}""".replace("\n", "").split("|")


class Author:
    """Draws with random() alone, whose sequence for a seed Python promises to keep."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def below(self, n):
        return int(self.rng.random() * n)

    def one(self, words):
        return words[self.below(len(words))].strip()

    def fill(self, pattern, who, other, place):
        text = pattern.strip().format(
            who=who, other=other, place=place if self.below(3) else self.one(PLACES), thing=self.one(THINGS),
            quality=self.one(QUALITIES), quality2=self.one(QUALITIES), deed=self.one(DEEDS), deed2=self.one(DEEDS),
            manner=self.one(MANNERS), weather=self.one(WEATHER), number=2 + self.below(40),
        )
        text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
        return text[0].upper() + text[1:]

    def sentence(self, *cast):
        return self.fill(self.one(TOLD), *cast) + "."

    def speech(self, who, other, place):
        saying = self.fill(self.one(SAYINGS), who, other, place)
        return f"“{saying},” {self.one(SPOKEN)} {who}. " + self.sentence(other, who, place)

    def paragraph(self, *cast):
        if self.below(3) == 0:
            return self.speech(*cast)
        return " ".join(self.sentence(*cast) for _ in range(3 + self.below(5)))

    def chapter(self, number):
        place, who = self.one(PLACES), self.one(PEOPLE)
        other = self.one([name for name in PEOPLE if name != who])
        title = f"CHAPTER {number}\n\nIn which {who} comes to {place}, and {other} has the {self.one(THINGS)}"
        paragraphs = []
        for _ in range(24 + self.below(16)):
            paragraphs.append(self.paragraph(who, other, place))
            who, other = (other, who) if self.below(2) else (who, other)
        return "\n\n".join([title, *map(wrap, paragraphs)])


def wrap(paragraph, width=78):
    lines, line = [], ""
    for word in paragraph.split(" "):
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])


def book():
    author, chapters, size = Author("The Tide Table"), [], 0
    while size < SIZE:
        chapters.append(author.chapter(len(chapters) + 1))
        size += len(chapters[-1].encode())
    return ("\n\n\n".join(["THE TIDE TABLE\n\nA novel by nobody", *chapters, "THE END"]) + "\n").encode()


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(0 if BOOK.read_bytes() == book() else f"{BOOK} is not what make_book.py writes: run it again.")
    BOOK.write_bytes(book())
