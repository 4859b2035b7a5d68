r"""Exact algebra on LaTeX: two expressions are compared as quotients of polynomials, without a computer algebra system.

The coefficients are fractions; the symbols are letters, `\pi`, `e`, roots of whole numbers and `i` (with i * i = -1).
Such an expression is a sum of terms in one way only, so equal expressions have equal terms, and different ones are
different for certain. Sines and cosines that roots can write are these roots, and powers of `e` with an imaginary exponent are
cosines and sines (Euler's formula). Other functions (`\sin x`, `\log_2 5`, `2^n`) stand as symbols of their own: equal terms
still prove equality, but different ones prove nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

_Symbols = tuple[tuple[str, int], ...]
_Monomial = tuple[int, _Symbols]
"""The number under the root, free of squares and negative for multiples of i; and the powers of the symbols, sorted."""
_Terms = dict[_Monomial, Fraction]

_LONGEST = 300
_MOST_TERMS = 400
_MOST_BITS = 60_000
_LARGEST_POWER = 4000
_LARGEST_FACTORIAL = 3000
_LARGEST_ROOT = 10**12
_ONE: _Monomial = (1, ())


class _UnreadableError(Exception):
    """The text is no expression of this algebra."""


@dataclass(frozen=True)
class Expression:
    """`above / below`, two polynomials; `below` is never 0."""

    above: _Terms
    below: _Terms
    functions: bool = False
    """Holds a function as a symbol, so that different terms may still be equal."""
    decimal: bool = False
    """Holds a decimal, which may be rounded."""

    @property
    def rational(self) -> Fraction | None:
        """The value, if it is a rational number."""
        above, below = _constant(self.above), _constant(self.below)
        return None if above is None or below is None else above / below

    @property
    def symbols(self) -> set[str]:
        """The letters in it, without constants."""
        names = {name for terms in (self.above, self.below) for _, symbols in terms for name, _ in symbols}
        return names - {"\\pi", "e"}


def equal_expressions(first: Expression, second: Expression) -> bool | None:
    """Whether two expressions are equal; None where functions or the size leave it open."""
    try:
        left, right = _product(first.above, second.below), _product(second.above, first.below)
    except _UnreadableError:
        return None
    if left == right:
        return True
    return None if first.functions or second.functions else False


def proportional(first: Expression, second: Expression) -> bool | None:
    """Whether one is a rational multiple of the other, other than 0: what two equations `... = 0` share if they are one."""
    if first.functions or second.functions:
        return None
    try:
        left, right = _product(first.above, second.below), _product(second.above, first.below)
    except _UnreadableError:
        return None
    if not left or not right:
        return not left and not right
    if left.keys() != right.keys():
        return False
    return len({left[monomial] / right[monomial] for monomial in left}) == 1


def difference(first: Expression, second: Expression) -> Expression | None:
    """`first - second`; None where it grows too large."""
    try:
        return _add(first, _negated(second))
    except _UnreadableError:
        return None


def solve_linear(left: Expression, right: Expression, name: str) -> tuple[Expression, Fraction] | None:
    """The value of a name at which two sides are equal, and its coefficient in `left - right`; None if not linear."""
    gap = difference(left, right)
    below = _constant(gap.below) if gap else None
    if gap is None or below is None:
        return None
    coefficient, rest = Fraction(0), {}
    for (root, symbols), value in gap.above.items():
        if (root, symbols) == (1, ((name, 1),)):
            coefficient = value
        elif any(name in symbol for symbol, _ in symbols if symbol not in _GREEK):
            return None  # a power, a product, or a function, whose symbol spells its argument
        else:
            rest[root, symbols] = value
    if not coefficient:
        return None
    solution = {monomial: -value / coefficient for monomial, value in rest.items()}
    return Expression(solution, {_ONE: Fraction(1)}, gap.functions, gap.decimal), coefficient / below


def constant(value: Fraction) -> Expression:
    """A rational number as an expression."""
    return _number(value)


def approximate(expression: Expression) -> float | None:
    """The value as a float, of a real number; None of anything else."""
    if expression.symbols or expression.functions:
        return None
    above, below = _float(expression.above), _float(expression.below)
    return None if above is None or not below else above / below


@lru_cache(maxsize=16384)
def read_expression(text: str) -> Expression | None:
    """The expression that a text is, as `canonical` spells it; None of anything else."""
    if len(text) > _LONGEST:
        return None
    tokens = _TOKEN.findall(text)
    if sum(map(len, tokens)) != len(text.replace(" ", "")) or not tokens:
        return None
    try:
        return _Parser(list(tokens)).whole()
    except (_UnreadableError, ZeroDivisionError, RecursionError, OverflowError):
        return None


_TOKEN = re.compile(
    r"\d+(?:\.\d+)?|\.\d+|\\[a-zA-Z]+|[a-zA-Z](?:_(?:[a-zA-Z0-9]|\{[a-zA-Z0-9,]+\}))?'*|[-+*/^(){}\[\]!|_]|\\[{}]"
)
_GREEK = frozenset(
    rf"\{name}"
    for name in (
        "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota",
        "kappa", "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "varphi", "chi", "psi",
        "omega", "Gamma", "Delta", "Theta", "Lambda", "infty", "emptyset", "Xi", "Sigma", "Phi", "Psi", "Omega",
        "ell", "hbar",
    )
)  # fmt: skip
_FUNCTIONS = frozenset(
    rf"\{name}"
    for name in (
        "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "ln", "log",
        "exp", "lg", "cis",
    )
)  # fmt: skip
_TIMES = {"*", "\\cdot", "\\times"}
_CALLED = frozenset("fghFGPQ")
"""Letters that name a function where a bracket follows: `f(2)` is no product."""


class _Parser:
    """Recursive descent over the tokens; every method returns the expression that begins at the current token."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0

    def whole(self) -> Expression:
        expression = self._sum()
        if self._at != len(self._tokens):
            raise _UnreadableError
        return expression

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise _UnreadableError
        self._at += 1
        return token

    def _expect(self, token: str) -> None:
        if self._next() != token:
            raise _UnreadableError

    def _sum(self) -> Expression:
        value = self._term()
        while self._peek() in ("+", "-"):
            sign = self._next()
            right = self._term()
            value = _add(value, right if sign == "+" else _negated(right))
        return value

    def _term(self) -> Expression:
        negative = False
        while self._peek() in ("+", "-"):
            negative ^= self._next() == "-"
        value, divided = self._power(), False
        while True:
            token = self._peek()
            if token in _TIMES:
                self._next()
                value, divided = _multiply(value, self._signed_power()), False
            elif token in ("/", "\\div"):
                self._next()
                value, divided = _multiply(value, _inverse(self._signed_power())), True
            elif self._starts_factor(token):
                if divided:
                    raise _UnreadableError  # 1/2x may be a half of x, or one over 2x
                value = self._implicit(value)
            else:
                return _negated(value) if negative else value

    def _implicit(self, value: Expression) -> Expression:
        """The product with the factor that follows without a sign; a whole number before a proper fraction is a sum."""
        before, after = self._tokens[self._at - 1], self._peek()
        if after[0].isdigit() or (after[0] == "." and after != "."):
            raise _UnreadableError  # two numbers in a row
        right = self._power()
        if before.isdigit() and after == "\\frac":
            whole, part = _constant(value.above), right.rational
            is_mixed = self._is_plain_fraction and part is not None and _constant(value.below) == 1
            if is_mixed and whole is not None and part is not None:
                if not 0 < part < 1 or whole != int(before):
                    raise _UnreadableError
                return _add(value, right)
        return _multiply(value, right)

    _is_plain_fraction = False
    """Whether the fraction that was read last has digits above and below."""

    def _starts_factor(self, token: str) -> bool:
        if not token or token in ("+", "-", ")", "}", "]", "\\}", "^", "!", "/", "|", "\\div", "[") or token in _TIMES:
            return False
        return token[0].isalnum() or token[0] in ".(\\{"

    def _signed_power(self) -> Expression:
        if self._peek() == "-":
            self._next()
            return _negated(self._power())
        return self._power()

    def _power(self) -> Expression:
        name = self._peek()
        base = self._factor()
        while self._peek() == "!":
            self._next()
            base = _factorial(base)
        if self._peek() != "^":
            return base
        self._next()
        exponent = self._argument()
        power = exponent.rational
        if self._peek() == "^":
            return _symbol_of_call("exp", exponent)
        if name == "e" and power is None:
            return _exponential(exponent)
        if power is None:
            return _symbol_of_call("pow", base, exponent)
        return _raised(base, power)

    def _factor(self) -> Expression:
        token = self._next()
        if token[0].isdigit() or token[0] == ".":
            return _number(Fraction(token), decimal="." in token)
        if token in ("(", "{"):
            value = self._sum()
            self._expect(")" if token == "(" else "}")
            return value
        if token == "[":
            value = self._sum()
            self._expect("]")
            return value
        if token == "\\frac":
            start = self._at
            above, below = self._argument(), self._argument()
            digits = [part for part in self._tokens[start : self._at] if part not in ("{", "}")]
            self._is_plain_fraction = len(digits) == 2 and all(part.isdigit() for part in digits)
            return _multiply(above, _inverse(below))
        if token == "\\sqrt":
            return self._root()
        if token == "\\binom":
            return _binomial(self._argument(), self._argument())
        if token in _FUNCTIONS:
            return self._call(token)
        return self._symbol(token)

    def _symbol(self, token: str) -> Expression:
        if token == "i":
            return _IMAGINARY
        if token[0] == "\\" and token != "\\pi" and token not in _GREEK:
            raise _UnreadableError
        if token in _CALLED and self._peek() == "(":
            raise _UnreadableError
        return _letter(token.replace("{", "").replace("}", ""))

    def _argument(self) -> Expression:
        """A braced expression, or one token: `\\frac12`, `x^2`, `x^-1`."""
        token = self._peek()
        if token == "{":
            return self._factor()
        if token == "-":
            self._next()
            return _negated(self._argument())
        if token.isdigit() and len(token) > 1:
            self._tokens[self._at : self._at + 1] = [token[0], token[1:]]
        return self._factor()

    def _root(self) -> Expression:
        if self._peek() == "[":
            self._next()
            index = self._sum().rational
            self._expect("]")
            radicand = self._argument()
            if index is None or not index:
                raise _UnreadableError
            return _raised(radicand, 1 / index)
        if self._peek() == "(":
            return _raised(self._factor(), Fraction(1, 2))
        token = self._peek()
        if token.isdigit():
            self._next()
            return _raised(_number(Fraction(token)), Fraction(1, 2))
        return _raised(self._argument(), Fraction(1, 2))

    def _call(self, name: str) -> Expression:
        """A function with its subscript, its power (`\\sin^2 x`) and its argument: a bracket, or the factors that follow."""
        subscript, power = None, None
        tokens_left = 2
        while tokens_left and self._peek() in ("^", "_"):
            raise_it = self._next() == "^"
            value = self._argument()
            power, subscript = (value.rational, subscript) if raise_it else (power, value)
            tokens_left -= 1
        if self._peek() in ("(", "{"):
            argument = self._factor()
        else:
            argument = self._power()
            while self._starts_factor(self._peek()) and self._peek() not in _FUNCTIONS and self._peek() != "(":
                argument = _multiply(argument, self._power())
        call = _symbol_of_call(name, argument, subscript) if subscript else _called(name, argument)
        if power is None:
            return call
        if power < 0:
            raise _UnreadableError  # an inverse function
        return _raised(call, power)


def _number(value: Fraction, *, decimal: bool = False) -> Expression:
    return Expression({_ONE: value} if value else {}, {_ONE: Fraction(1)}, decimal=decimal)


def _constant(terms: _Terms) -> Fraction | None:
    if not terms:
        return Fraction(0)
    return terms[_ONE] if len(terms) == 1 and _ONE in terms else None


def _add(first: Expression, second: Expression) -> Expression:
    if first.below == second.below:
        above, below = _total(first.above, second.above), first.below
    else:
        above = _total(_product(first.above, second.below), _product(second.above, first.below))
        below = _product(first.below, second.below)
    return Expression(above, below, first.functions or second.functions, first.decimal or second.decimal)


def _negated(value: Expression) -> Expression:
    return Expression({m: -c for m, c in value.above.items()}, value.below, value.functions, value.decimal)


def _multiply(first: Expression, second: Expression) -> Expression:
    above, below = _product(first.above, second.above), _product(first.below, second.below)
    top, bottom = _constant(above), _constant(below)
    if top is not None and bottom is not None:
        quotient = top / bottom
        above, below = ({_ONE: quotient} if quotient else {}), {_ONE: Fraction(1)}
    return Expression(above, below, first.functions or second.functions, first.decimal or second.decimal)


def _inverse(value: Expression) -> Expression:
    if not value.above:
        raise ZeroDivisionError
    return Expression(value.below, value.above, value.functions, value.decimal)


def _total(first: _Terms, second: _Terms) -> _Terms:
    terms = dict(first)
    for monomial, coefficient in second.items():
        total = terms.get(monomial, Fraction(0)) + coefficient
        if total:
            terms[monomial] = total
        else:
            terms.pop(monomial, None)
    return _limited(terms)


def _product(first: _Terms, second: _Terms) -> _Terms:
    if len(first) * len(second) > _MOST_TERMS * 10:
        raise _UnreadableError
    terms: _Terms = {}
    for (root, symbols), coefficient in first.items():
        for (other_root, other_symbols), other_coefficient in second.items():
            factor, radicand = _times_root(root, other_root)
            monomial = (radicand, _times_symbols(symbols, other_symbols))
            total = terms.get(monomial, Fraction(0)) + coefficient * other_coefficient * factor
            if total:
                terms[monomial] = total
            else:
                terms.pop(monomial, None)
    return _limited(terms)


def _times_root(first: int, second: int) -> tuple[int, int]:
    """`(f, n)` with sqrt(first) * sqrt(second) == f * sqrt(n); of two negative ones, i * i is -1."""
    shared = math.gcd(first, second)
    sign = -1 if first < 0 and second < 0 else 1
    radicand = abs(first) // shared * (abs(second) // shared)
    if abs(radicand) > _LARGEST_ROOT:
        raise _UnreadableError
    return sign * shared, -radicand if (first < 0) != (second < 0) else radicand


def _times_symbols(first: _Symbols, second: _Symbols) -> _Symbols:
    if not first or not second:
        return first or second
    powers = dict(first)
    for name, power in second:
        powers[name] = powers.get(name, 0) + power
    return tuple(sorted((name, power) for name, power in powers.items() if power))


def _limited(terms: _Terms) -> _Terms:
    if len(terms) > _MOST_TERMS or any(
        max(c.numerator.bit_length(), c.denominator.bit_length()) > _MOST_BITS for c in terms.values()
    ):
        raise _UnreadableError
    return terms


def _raised(base: Expression, power: Fraction) -> Expression:
    if power.denominator != 1:
        return _rooted(base, power)
    exponent = abs(int(power))
    value = base.rational
    if value is not None:
        bits = max(value.numerator.bit_length(), value.denominator.bit_length())
        if exponent > _LARGEST_POWER * 4 or bits * exponent > _MOST_BITS:
            raise _UnreadableError
        if power < 0 and not value:
            raise ZeroDivisionError
        return _number(value ** int(power), decimal=base.decimal)
    if len(base.above) == 1 and len(base.below) == 1 and exponent > 8:
        return _raised_monomial(base, int(power))
    if exponent > 40:
        raise _UnreadableError
    result = _number(Fraction(1))
    for _ in range(exponent):
        result = _multiply(result, base)
    return _inverse(result) if power < 0 else result


def _raised_monomial(base: Expression, power: int) -> Expression:
    """A single term to a large power: its symbols' powers are multiplied."""
    parts = []
    for terms in (base.above, base.below):
        ((root, symbols), coefficient) = next(iter(terms.items()))
        exponent = abs(power)
        bits = max(coefficient.numerator.bit_length(), coefficient.denominator.bit_length(), abs(root).bit_length())
        if root < 0 or exponent > _LARGEST_POWER or bits * exponent > _MOST_BITS:
            raise _UnreadableError
        factor = coefficient**exponent * root ** (exponent // 2)
        parts.append({(root if exponent % 2 else 1, tuple((name, n * exponent) for name, n in symbols)): factor})
    above, below = parts if power > 0 else parts[::-1]
    return Expression(above, below, base.functions, base.decimal)


def _rooted(base: Expression, power: Fraction) -> Expression:
    value = base.rational
    if value is None or base.decimal:
        return _symbol_of_call(f"power {power}", base)
    if power.denominator != 2:
        return _perfect_root(value, power)
    if not value:
        return _number(value)
    square, free = _square_part(value.numerator * value.denominator)
    root = Expression({(free, ()): Fraction(square, value.denominator)}, {_ONE: Fraction(1)})
    return _raised(root, Fraction(power.numerator))


def _perfect_root(value: Fraction, power: Fraction) -> Expression:
    """A root of a number that has one, as of 8 to the power 1/3; any other root of the same number is a symbol."""
    index = power.denominator
    if value < 0 or index > 60:
        raise _UnreadableError
    roots = [_whole_root(part, index) for part in (value.numerator, value.denominator)]
    if roots[0] is not None and roots[1] is not None:
        return _raised(_number(Fraction(roots[0], roots[1])), Fraction(power.numerator))
    return _symbol_of_call(f"power {power}", _number(value))


def _whole_root(number: int, index: int) -> int | None:
    if number.bit_length() > 900:
        return None
    root = round(number ** (1 / index))
    return next((near for near in (root - 1, root, root + 1) if near >= 0 and near**index == number), None)


@lru_cache(maxsize=1024)
def _square_part(number: int) -> tuple[int, int]:
    """`(s, f)` with `number == s * s * f` and f free of squares; f has the sign of the number."""
    size, sign, square, divisor = abs(number), -1 if number < 0 else 1, 1, 2
    if size > _LARGEST_ROOT:
        root = math.isqrt(size)
        if root * root == size:
            return root, sign
        raise _UnreadableError
    while divisor * divisor <= size:
        while size % (divisor * divisor) == 0:
            size //= divisor * divisor
            square *= divisor
        divisor += 1
        if divisor > 20_000:
            root = math.isqrt(size)
            if root * root == size:
                return square * root, sign
            break
    return square, sign * size


def _factorial(value: Expression) -> Expression:
    number = value.rational
    if number is None or number.denominator != 1 or not 0 <= number <= _LARGEST_FACTORIAL:
        raise _UnreadableError
    return _number(Fraction(math.factorial(int(number))))


def _binomial(above: Expression, below: Expression) -> Expression:
    n, k = above.rational, below.rational
    if n is None or k is None or n.denominator != 1 or k.denominator != 1 or not 0 <= k <= n <= _LARGEST_FACTORIAL:
        raise _UnreadableError
    return _number(Fraction(math.comb(int(n), int(k))))


def _symbol_of_call(name: str, *arguments: Expression) -> Expression:
    """A function of its arguments as one symbol; equal arguments give the same symbol where they are equal term by term."""
    spelled = "; ".join(f"{_spell(argument.above)} / {_spell(argument.below)}" for argument in arguments)
    return Expression({(1, ((f"{name}({spelled})", 1),)): Fraction(1)}, {_ONE: Fraction(1)}, functions=True)


def _called(name: str, argument: Expression) -> Expression:
    """A function of one argument: by sines and cosines where those can be written, else a symbol."""
    if name == "\\cis":
        return _cis(argument)
    if name == "\\exp":
        return _exponential(argument)
    if name not in _BY_COSINE:
        return _symbol_of_call(name, argument)
    if name in ("\\cos", "\\sin"):
        return _cosine(argument) if name == "\\cos" else _sine(argument)
    above, below = _BY_COSINE[name]
    parts = [_cosine(argument), _sine(argument)]
    if parts[0].functions or parts[1].functions:
        return _symbol_of_call(name, argument)
    parts.append(_number(Fraction(1)))
    return _multiply(parts[above], _inverse(parts[below]))


_BY_COSINE = {"\\cos": (0, 2), "\\sin": (1, 2), "\\tan": (1, 0), "\\cot": (0, 1), "\\sec": (2, 0), "\\csc": (2, 1)}
"""A function as a quotient of the cosine (0), the sine (1) and 1 (2)."""
_ROOTS_OF_COSINE: dict[Fraction, dict[int, Fraction]] = {
    Fraction(0): {1: Fraction(1)},
    Fraction(1, 12): {6: Fraction(1, 4), 2: Fraction(1, 4)},
    Fraction(1, 6): {3: Fraction(1, 2)},
    Fraction(1, 5): {1: Fraction(1, 4), 5: Fraction(1, 4)},
    Fraction(1, 4): {2: Fraction(1, 2)},
    Fraction(1, 3): {1: Fraction(1, 2)},
    Fraction(2, 5): {1: Fraction(-1, 4), 5: Fraction(1, 4)},
    Fraction(5, 12): {6: Fraction(1, 4), 2: Fraction(-1, 4)},
    Fraction(1, 2): {},
}
"""Multiples of pi up to a half to their cosine, as radicand to coefficient."""


def _exponential(exponent: Expression) -> Expression:
    """`e` to a power, whose imaginary part turns by Euler's formula."""
    if any(root < 0 for root, _ in exponent.below):
        return _symbol_of_call("exp", exponent)
    angle = {(-root, symbols): value for (root, symbols), value in exponent.above.items() if root < 0}
    real = {monomial: value for monomial, value in exponent.above.items() if monomial[0] > 0}
    rest = Expression(real, exponent.below, exponent.functions, exponent.decimal)
    power = rest.rational
    size = _symbol_of_call("exp", rest) if power is None else _raised(_letter("e"), power)
    return (
        _multiply(size, _cis(Expression(angle, exponent.below, exponent.functions, exponent.decimal)))
        if angle
        else size
    )


def _cis(angle: Expression) -> Expression:
    return _add(_cosine(angle), _multiply(_IMAGINARY, _sine(angle)))


def _cosine(angle: Expression) -> Expression:
    turn = _turn(angle)
    if turn is None:
        return _symbol_of_call("\\cos", _negated(angle) if _is_negative(angle) else angle)
    turn %= 2
    turn = 2 - turn if turn > 1 else turn
    sign, turn = (-1, 1 - turn) if turn > Fraction(1, 2) else (1, turn)
    if turn in _ROOTS_OF_COSINE:
        roots: _Terms = {(root, ()): sign * value for root, value in _ROOTS_OF_COSINE[turn].items()}
        return Expression(roots, {_ONE: Fraction(1)})
    call = _symbol_of_call("\\cos", _multiply(_number(turn), _letter("\\pi")))
    return _negated(call) if sign < 0 else call


def _sine(angle: Expression) -> Expression:
    turn = _turn(angle)
    if turn is not None:
        return _cosine(_multiply(_number(Fraction(1, 2) - turn), _letter("\\pi")))
    if _is_negative(angle):
        return _negated(_symbol_of_call("\\sin", _negated(angle)))
    return _symbol_of_call("\\sin", angle)


def _turn(angle: Expression) -> Fraction | None:
    """The angle as an exact multiple of pi; None of anything else."""
    if not angle.above:
        return Fraction(0)
    below = _constant(angle.below)
    if below is None or angle.decimal:
        return None
    ((monomial, value), *others) = angle.above.items()
    return value / below if not others and monomial == (1, (("\\pi", 1),)) else None


def _is_negative(angle: Expression) -> bool:
    """Whether its first term is: of an angle and its opposite, one is."""
    return angle.above[min(angle.above)] < 0


def _letter(name: str) -> Expression:
    return Expression({(1, ((name, 1),)): Fraction(1)}, {_ONE: Fraction(1)})


_IMAGINARY = Expression({(-1, ()): Fraction(1)}, {_ONE: Fraction(1)})


def _spell(terms: _Terms) -> str:
    return " + ".join(f"{coefficient} {monomial}" for monomial, coefficient in sorted(terms.items()))


def _float(terms: _Terms) -> float | None:
    try:
        return math.fsum(_floats(terms))
    except (ValueError, OverflowError):
        return None


def _floats(terms: _Terms) -> Iterator[float]:
    for (root, symbols), coefficient in terms.items():
        value = float(coefficient) * math.sqrt(root)
        for name, power in symbols:
            value *= (math.pi if name == "\\pi" else math.e) ** power
        yield value
