"""The texts of the digit task: what is said, and how it is written."""

WORDS = "zero one two three four five six seven eight nine".split()


def random_digits(rng, longest=8):
    """One to `longest` digits; single ones more often, since they are the hardest to hear."""
    n = 1 if rng.random() < 0.15 else rng.randint(1, longest)
    return "".join(rng.choice("0123456789") for _ in range(n))


def words(digits):
    return " ".join(WORDS[int(d)] for d in digits)


def sentence(digits):
    """The written form: `731` is "Seven three one."."""
    text = words(digits)
    return text[0].upper() + text[1:] + "."


def normal(text):
    """What word error rates compare: lower case letters and single blanks."""
    return " ".join("".join(c if c.isalpha() else " " for c in text.lower()).split())
