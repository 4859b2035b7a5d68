"""The `math` reward on answers of many kinds: what must be paid, and what must never be."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlllm.core.records import Sample
from rlllm.rewards.math.algebra import equal_expressions, read_expression
from rlllm.rewards.math.answer_extraction import has_prose, read_answer
from rlllm.rewards.math.canonical import canonical
from rlllm.rewards.math.comparison import equal_answers
from rlllm.rewards.math.reward import Math
from rlllm.rewards.math.structures import is_single, offers_several, structure

MARKED = [
    # completion, reference, value
    ("\\boxed{\\text{3 or more}}", "3", 0.0),
    ("\\boxed{3+}", "3", 0.0),
    ("\\boxed{\\text{at least } 3}", "3", 0.0),
    ("\\boxed{\\text{not } 3}", "3", 0.0),
    ("\\boxed{5 \\text{ or } 5}", "5", 1.0),
    ("\\boxed{5 \\text{ feet}}", "5 \\text{ meters}", 0.0),
    ("\\boxed{5}", "5\\text{ m}", 1.0),
    ("\\boxed{5\\,\\text{m}}", "5 \\text{ meters}", 1.0),
    ("\\boxed{500\\text{ cm}}", "5 \\text{ meters}", 1.0),
    ("\\boxed{5\\sqrt{2}}", "5\\sqrt{2}\\text{ cm}", 1.0),
    ("\\boxed{5\\sqrt{2}\\text{ m}}", "5\\sqrt{2}\\text{ cm}", 0.0),
    ("\\boxed{\\frac{\\pi}{2}}", "\\frac{\\pi}{2}\\text{ m}^2", 1.0),
    ("\\boxed{10\\pi\\text{ in}^2}", "10\\pi \\text{ square inches}", 1.0),
    ("\\boxed{25\\pi \\text{ cm}^2}", "25\\pi", 1.0),
    ("\\boxed{SSA}", "SAS", 0.0),
    ("\\boxed{\\text{SAS}}", "SAS", 1.0),
    ("\\boxed{More}", "Rome", 0.0),
    ("\\boxed{on}", "no", 0.0),
    ("\\boxed{cleric}", "circle", 0.0),
    ("\\boxed{A circle.}", "circle", 1.0),
    ("\\boxed{Circle}", "the circle", 1.0),
    ("\\boxed{North}", "north", 1.0),
    ("\\boxed{yx}", "xy", 1.0),
    ("\\boxed{BA}", "AB", 0.0),
    ("\\boxed{\\text{increasing on } \\mathbb{R}}", "\\text{increasing on } \\mathbb{R}", 1.0),
    ("\\boxed{1/2^{98}}", "1/2^{99}", 0.0),
    ("\\boxed{\\frac{1}{2^{98}}}", "\\frac{1}{2^{99}}", 0.0),
    ("\\boxed{1.6e-19}", "6.626e-34", 0.0),
    ("\\boxed{6.626 \\cdot 10^{-34}}", "6.626\\times10^{-34}", 1.0),
    ("\\boxed{\\sin(10^{-8})}", "\\sin(10^{-9})", 0.0),
    ("\\boxed{10^{-8}}", "\\ln(1+10^{-9})", 0.0),
    ("\\boxed{204_7}", "204_5", 0.0),
    ("\\boxed{110_3}", "110_2", 0.0),
    ("\\boxed{6}", "110_2", 1.0),
    ("\\boxed{110_2}", "6", 1.0),
    ("\\boxed{204_{\\text{five}}}", "204_5", 1.0),
    ("\\boxed{54}", "204_5", 1.0),
    ("\\boxed{1a_{16}}", "1A_{16}", 1.0),
    ("\\boxed{2.5}", "2\\frac12", 1.0),
    ("\\boxed{2 \\cdot \\frac12}", "2\\frac12", 0.0),
    ("\\boxed{2\\cdot\\frac12}", "1", 1.0),
    ("\\boxed{\\frac{4}{33}}", "0.\\overline{12}", 1.0),
    ("\\boxed{1/3}", "0.\\dot{3}", 1.0),
    ("\\boxed{1/3}", "0.333...", 1.0),
    ("\\boxed{0.33}", "1/3", 0.0),
    ("\\boxed{0.333333}", "1/3", 1.0),
    ("\\boxed{0.666667}", "2/3", 1.0),
    ("\\boxed{1.41421}", "\\sqrt{2}", 1.0),
    ("\\boxed{1.41}", "\\sqrt{2}", 0.0),
    ("\\boxed{3.14159}", "\\pi", 1.0),
    ("\\boxed{22/7}", "\\pi", 0.0),
    ("\\boxed{]0;1[}", "(0,1)", 1.0),
    ("\\boxed{[0,1[}", "[0,1)", 1.0),
    ("\\boxed{]0,1[}", "[0,1]", 0.0),
    ("\\boxed{]0,1]}", "(0,1]", 1.0),
    ("\\boxed{(1,2)}", "\\{1,2\\}", 0.0),
    ("\\boxed{1,2}", "(1,2)", 1.0),
    ("\\boxed{2,1}", "(1,2)", 0.0),
    ("\\boxed{\\varnothing}", "\\emptyset", 1.0),
    ("\\boxed{0}", "\\emptyset", 0.0),
    ("\\boxed{∅}", "\\emptyset", 1.0),
    ("\\boxed{x²}", "x^2", 1.0),
    ("\\boxed{x₁}", "x_1", 1.0),
    ("\\boxed{2\\sqrt{3}}", "2√3", 1.0),
    ("\\boxed{∛5}", "\\sqrt[3]{5}", 1.0),
    ("\\boxed{30°}", "30^\\circ", 1.0),
    ("\\boxed{30 \\text{ degrees}}", "30^\\circ", 1.0),
    ("\\boxed{-\\infty}", "\\infty", 0.0),
    ("\\boxed{{1 \\over 2}}", "\\frac{1}{2}", 1.0),
    ("\\boxed{\\frac 1 2}", "\\frac{1}{2}", 1.0),
    ("\\boxed{\\color{blue}\\frac{1}{2}}", "\\frac12", 1.0),
    ("\\boxed{\\colorbox{yellow}{42}}", "42", 1.0),
    ("\\boxed{\\mathbf{\\color{red} 42}}", "42", 1.0),
    ("\\boxed{\\Large \\textbf{42}}", "42", 1.0),
    ("\\boxed{\\text{The answer is } 42}", "42", 1.0),
    ("\\boxed{\\phantom{0}42}", "42", 1.0),
    ("\\boxed{42\\hspace{1cm}}", "42", 1.0),
    ("\\boxed{42\\ \\text{apples}}", "42", 1.0),
    ("\\boxed{42\\quad}", "42", 1.0),
    ("\\boxed{2x+3}", "y = 2x + 3", 1.0),
    ("\\boxed{x = (y-3)/2}", "y = 2x + 3", 1.0),
    ("\\boxed{x^2+y^2-25=0}", "x^2+y^2=25", 1.0),
    ("\\boxed{x^2+y^2=5}", "x^2+y^2=25", 0.0),
    ("\\boxed{y=2, x=1}", "x = 1, y = 2", 1.0),
    ("\\boxed{(1,2)}", "x=1,y=2", 1.0),
    ("\\boxed{(2,1)}", "x=1,y=2", 0.0),
    ("\\boxed{1 \\le x \\le 2}", "x \\in [1,2]", 1.0),
    ("\\boxed{1 \\le x \\le 2}", "x \\in (1,2]", 0.0),
    ("\\boxed{(-\\infty,1)\\cup(2,\\infty)}", "x<1 \\text{ or } x>2", 1.0),
    ("\\boxed{(-\\infty,-1]}", "x \\le -1", 1.0),
    ("\\boxed{[0,1]\\cup[1,2]}", "[0,2]", 1.0),
    ("\\boxed{[0,1)\\cup(1,2]}", "[0,2]", 0.0),
    ("\\boxed{3,-3}", "\\pm 3", 1.0),
    ("\\boxed{3}", "\\pm 3", 0.0),
    ("\\boxed{2+\\sqrt{3}, 2-\\sqrt{3}}", "2 \\pm \\sqrt{3}", 1.0),
    ("\\boxed{12:30 PM}", "12:30", 0.0),
    ("\\boxed{6:8}", "3:4", 1.0),
    ("\\boxed{1000}", "1{,}000", 1.0),
    ("\\boxed{1,0}", "1,000", 0.0),
    ("\\boxed{0.5}", "50\\%", 1.0),
    ("\\boxed{0.5\\%}", "0.5", 0.0),
    ("\\boxed{0.5}", "50", 0.0),
    ("\\boxed{1234.5}", "\\$1,234.50", 1.0),
    ("\\boxed{12.5}", "12{,}5", 1.0),
    ("\\boxed{\\begin{bmatrix}1\\\\2\\end{bmatrix}}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", 1.0),
    ("\\boxed{(1,2)}", "\\begin{pmatrix}1&2\\end{pmatrix}", 1.0),
    ("\\boxed{(2,1)}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", 0.0),
    ("\\boxed{(1,2,3)}", "\\langle 1,2,3\\rangle", 1.0),
    ("\\boxed{x=1,y=2}", "\\begin{cases}x=1\\\\y=2\\end{cases}", 1.0),
    ("\\boxed{2x}", "f(x) = 2x", 1.0),
    ("\\boxed{\\frac{1+x}{x-1}}", "\\frac{x+1}{x-1}", 1.0),
    ("\\boxed{\\frac{x-1}{x+1}}", "\\frac{x+1}{x-1}", 0.0),
    ("\\boxed{1024}", "2^{10}", 1.0),
    ("\\boxed{\\frac12\\sin 2x}", "\\sin x \\cos x", 1.0),
    ("\\boxed{3}", "\\log_2 8", 1.0),
    ("\\boxed{\\text{C}}", "C", 1.0),
    ("\\boxed{D}", "C", 0.0),
    ("\\boxed{\\text{(C) } 17}", "C", 1.0),
    ("\\boxed{\\text{(D) } 17}", "C", 0.0),
    ("\\boxed{\\text{(C) } 17}", "17", 1.0),
    ("\\boxed{\\text{(C) } 18}", "17", 0.0),
    ("\\boxed{C}", "(C)", 1.0),
    ("\\boxed{C}", "\\text{(C)}", 1.0),
    ("\\boxed{\\text{False}}", "True", 0.0),
    ("\\boxed{2}", '{"target": ["1", "2"]}', 1.0),
    ("\\boxed{3}", '{"target": ["1", "2"]}', 0.0),
    ("\\boxed{7!}", "7", 0.0),
    ("\\boxed{7 = 7}", "7", 1.0),
    ("\\boxed{2+2=5}", "5", 0.0),
    ("\\boxed{2+3=5}", "5", 1.0),
    ("\\boxed{x=2+3=5}", "5", 1.0),
    ("\\boxed{5x}", "5", 0.0),
    ("\\boxed{5 x}", "5", 0.0),
    ("\\boxed{5,}", "5", 1.0),
    ("\\boxed{5;}", "5", 1.0),
    ("\\boxed{5 \\text{ and } 6}", "5", 0.0),
    ("\\boxed{5} or \\boxed{6}", "5", 0.0),
    ("\\boxed{\\frac12}, i.e. \\boxed{0.5}", "0.5", 1.0),
    ("\\boxed{2k}", "2n", 0.0),
    ("\\boxed{\\frac{n^2+n}{2}}", "\\frac{n(n+1)}{2}", 1.0),
    ("\\boxed{\\ln 4}", "2\\ln 2", 1.0),
    ("\\boxed{b^2+a^2}", "a^2+b^2", 1.0),
    ("\\boxed{\\frac{2}{-3}}", "-\\frac{2}{3}", 1.0),
    ("\\boxed{-2/3}", "\\frac{-2}{3}", 1.0),
    ("\\boxed{\\sqrt{45}}", "3\\sqrt{5}", 1.0),
    ("\\boxed{\\text{Yes, it does}}", "\\text{Yes}", 0.0),
    ("\\boxed{10^{99}}", "10^{100}", 0.0),
    ("\\boxed{\\frac{1}{1001!}}", "\\frac{1}{1000!}", 0.0),
    ("\\boxed{1.0000002}", "1.0000001", 0.0),
    ("\\boxed{1,234,568}", "1{,}234{,}567", 0.0),
    ("\\boxed{2^{101}}", "2^{100}", 0.0),
    ("\\boxed{0.777778}", "\\frac{7}{9}", 1.0),
    ("\\boxed{700{,}000}", "7 \\times 10^5", 1.0),
    ("\\boxed{6\\text{ cm}^2}", "6\\text{ cm}", 0.0),
    ("\\boxed{18\\text{ euros}}", "18\\text{ dollars}", 0.0),
    ("\\boxed{\\text{Friday}.}", "\\text{Friday}", 1.0),
    ("\\boxed{5^\\circ}", "5", 1.0),
    ("\\boxed{5\\%}", "5", 1.0),
    ("\\boxed{0.3333}", "\\frac{1}{3}", 0.0),
    ("\\boxed{6.28}", "2\\pi", 0.0),
    ("\\boxed{6.28319}", "2\\pi", 1.0),
    ("\\boxed{2\\pi\\approx 6.28}", "2\\pi", 1.0),
    ("\\boxed{\\sqrt{3} \\approx 1.732}", "\\sqrt{3}", 1.0),
    ("\\boxed{\\approx 5}", "5", 1.0),
    ("\\boxed{\\frac{3}{5} = 0.6}", "\\frac{3}{5}", 1.0),
    ("\\boxed{\\frac{3}{5} = 0.7}", "\\frac{3}{5}", 0.0),
    ("\\boxed{3}", "x=3", 1.0),
    ("\\boxed{3, 4}", "x = 3 \\text{ or } x = 4", 1.0),
    ("\\boxed{x=4}", "x = 3 \\text{ or } x = 4", 0.0),
    ("\\boxed{x_1 = 3, x_2 = 4}", "3, 4", 1.0),
    ("\\boxed{4 \\text{ and } 3}", "3, 4", 1.0),
    ("\\boxed{(4,3)}", "(3,4)", 0.0),
    ("\\boxed{(4,3),(3,4)}", "(3, 4), (4, 3)", 1.0),
    ("\\boxed{(4,3)}", "(3, 4), (4, 3)", 0.0),
    ("\\boxed{x=3, y=4}", "(3,4)", 1.0),
    ("\\boxed{y=3, x=4}", "(3,4)", 0.0),
    ("\\boxed{x \\in (-1, 2)}", "(-1, 2)", 1.0),
    ("\\boxed{-1 < x < 2}", "(-1, 2)", 1.0),
    ("\\boxed{-1 \\leq x < 2}", "(-1, 2)", 0.0),
    ("\\boxed{\\{x : -1 \\le x \\le 2\\}}", "[-1, 2]", 1.0),
    ("\\boxed{(-\\infty,\\infty)}", "\\mathbb{R}", 1.0),
    ("\\boxed{\\text{all real numbers}}", "\\mathbb{R}", 1.0),
    ("\\boxed{3}", "\\{3\\}", 1.0),
    ("\\boxed{\\{3\\}}", "3", 1.0),
    ("\\boxed{1 \\pm \\sqrt{2}}", "1 + \\sqrt{2}, 1 - \\sqrt{2}", 1.0),
    ("\\boxed{\\frac{-1+\\sqrt{5}}{2}, \\frac{-1-\\sqrt{5}}{2}}", "\\frac{-1 \\pm \\sqrt{5}}{2}", 1.0),
    ("\\boxed{\\frac{-1+\\sqrt{5}}{2}}", "\\frac{-1 \\pm \\sqrt{5}}{2}", 0.0),
    ("\\boxed{11,111,111,100}", "11111111100", 1.0),
    ("\\boxed{10^6}", "1,000,000", 1.0),
    ("\\boxed{3}", "3.0", 1.0),
    ("\\boxed{0}", "-0", 1.0),
    ("\\boxed{0}", "\\frac{0}{5}", 1.0),
    ("\\boxed{512}", "2^{3^2}", 1.0),
    ("\\boxed{512}", "(2^3)^2", 0.0),
    ("\\boxed{3628800}", "10!", 1.0),
    ("\\boxed{120}", "\\binom{10}{3}", 1.0),
    ("\\boxed{120}", "{10 \\choose 3}", 1.0),
    ("\\boxed{2.71828}", "e", 1.0),
    ("\\boxed{\\frac{1}{e}}", "e^{-1}", 1.0),
    ("\\boxed{1}", "\\ln e", 1.0),
    ("\\boxed{\\frac12}", "\\sin 30^\\circ", 1.0),
    ("\\boxed{-1}", "\\cos \\pi", 1.0),
    ("\\boxed{1}", "\\tan 45^\\circ", 1.0),
    ("\\boxed{\\pi/4}", "\\arctan 1", 1.0),
    ("\\boxed{(x-y)(x+y)}", "x^2 - y^2", 1.0),
    ("\\boxed{(x-y)^2}", "x^2 - y^2", 0.0),
    ("\\boxed{x/y}", "\\frac{x}{y}", 1.0),
    ("\\boxed{y=-\\frac{3}{2}x+3}", "3x+2y=6", 1.0),
    ("\\boxed{y=-\\frac{3}{2}x+4}", "3x+2y=6", 0.0),
    ("\\boxed{x^2}", "y=x^2", 1.0),
    ("\\boxed{x=y^2}", "y=x^2", 0.0),
    ("\\boxed{3}", "\\lfloor 3.7 \\rfloor", 1.0),
    ("\\boxed{\\lfloor n/2 \\rfloor}", "\\left\\lfloor \\frac{n}{2} \\right\\rfloor", 1.0),
    ("\\boxed{2}", "\\log_{10} 100", 1.0),
    ("\\boxed{2}", "\\log 100", 1.0),
    ("\\boxed{6}", "\\sum_{k=1}^{3} k", 1.0),
    ("\\boxed{\\frac{d}{dx}}", "\\frac{d}{dx}", 1.0),
    ("\\boxed{n(n+1)}", "n^2+n", 1.0),
    ("\\boxed{2\\cdot 2^n - 1}", "2^{n+1}-1", 1.0),
    ("\\boxed{2^n-1}", "2^{n+1}-1", 0.0),
    ("\\boxed{(n-1)!}", "(n-1)!", 1.0),
    ("\\boxed{2n+1}", "a_n = 2n+1", 1.0),
    ("\\boxed{2n-1}", "a_n = 2n+1", 0.0),
    ("\\boxed{x^2+1}", "P(x) = x^2+1", 1.0),
    ("\\boxed{f(x) = x + 1}", "f(x)=x+1", 1.0),
    ("\\boxed{g(x) = x + 1}", "f(x)=x+1", 0.0),
    ("\\boxed{5}", "AB = 5", 1.0),
    ("\\boxed{30^\\circ}", "\\angle ABC = 30^\\circ", 1.0),
    ("\\boxed{\\triangle ABC}", "\\triangle ABC", 1.0),
    ("\\boxed{AB}", "\\overline{AB}", 0.0),
    ("\\boxed{\\vec{a}}", "\\vec{a}", 1.0),
    ("\\boxed{\\begin{pmatrix}1&2\\\\3&5\\end{pmatrix}}", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", 0.0),
    ("\\boxed{\\begin{bmatrix}1 & 2 \\\\ 3 & 4\\end{bmatrix}}", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", 1.0),
    ("\\boxed{[[1,2],[3,4]]}", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", 0.0),
    ("\\boxed{3\\mathbf{i}+4\\mathbf{j}}", "3\\mathbf{i}+4\\mathbf{j}", 1.0),
    ("\\boxed{2:4:6}", "1:2:3", 1.0),
    ("\\boxed{5:00 \\text{ p.m.}}", "5:00", 0.0),
    ("\\boxed{5:00 \\text{ p.m.}}", "5:00 \\text{ PM}", 1.0),
    ("\\boxed{\\text{Tuesday}}", "\\text{Monday}", 0.0),
    ("\\boxed{\\text{No solution}}", "\\text{no solution}", 1.0),
    ("\\boxed{0}", "\\text{no solution}", 0.0),
    ("\\boxed{\\text{Yes}}", "\\text{No}", 0.0),
    ("\\boxed{\\text{neither even nor odd}}", "\\text{even}", 0.0),
    ("\\boxed{\\text{do}}", "\\text{odd}", 0.0),
    ("\\boxed{\\text{either}}", "\\text{neither}", 0.0),
    ("\\boxed{\\text{increasing}}", "\\text{decreasing}", 0.0),
    ("\\boxed{\\text{not increasing}}", "\\text{increasing}", 0.0),
    ("\\boxed{07}", "7", 1.0),
    ("\\boxed{7.000}", "7", 1.0),
    ("\\boxed{7.0001}", "7", 0.0),
    ("\\boxed{VII}", "7", 0.0),
    ("\\boxed{10 0}", "100", 0.0),
    ("\\boxed{1 hundred}", "100", 1.0),
    ("\\boxed{\\text{twenty-one}}", "21", 1.0),
    ("\\boxed{\\text{twenty one}}", "21", 1.0),
    ("\\boxed{\\text{twenty}}", "21", 0.0),
    ("\\boxed{\\text{half}}", "0.5", 0.0),
    ("\\boxed{50\\text{ percent}}", "0.5", 1.0),
    ("\\boxed{3 \\pm 0.1}", "3", 0.0),
    ("\\boxed{3 (\\text{mod } 5)}", "3", 0.0),
    ("\\boxed{3 \\pmod{5}}", "3 \\pmod 5", 1.0),
    ("\\boxed{3 \\pmod{7}}", "3 \\pmod 5", 0.0),
    ("\\boxed{x \\equiv 3 \\pmod 7}", "3", 0.0),
    ("\\boxed{\\frac{6}{2}}", "3", 1.0),
    ("\\boxed{6/2 apples}", "3", 1.0),
    ("\\boxed{\\text{None of the above}}", "3", 0.0),
    ("\\boxed{???}", "3", 0.0),
    ("\\boxed{3?}", "3", 0.0),
    ("\\boxed{-(-3)}", "3", 1.0),
    ("\\boxed{|-3|}", "3", 1.0),
    ("\\boxed{\\sqrt{9}}", "3", 1.0),
    ("\\boxed{\\pm\\sqrt{9}}", "3", 0.0),
    ("\\boxed{3i}", "3", 0.0),
    ("\\boxed{3\\text{ and }3}", "3", 1.0),
    ("\\boxed{3\\neq 4}", "3", 0.0),
    ("\\boxed{3<4}", "3", 0.0),
    ("\\boxed{n\\ge3}", "3", 0.0),
    ("\\boxed{n>2}", "3", 0.0),
    ("\\boxed{(3)}", "3", 1.0),
    ("\\boxed{[3]}", "3", 1.0),
    ("\\boxed{3 \\text{ (three)}}", "3", 1.0),
    ("\\boxed{3 \\text{ (not 4)}}", "3", 0.0),
    ("\\boxed{3 \\text{ points}}", "3", 1.0),
    ("\\boxed{3\\text{rd}}", "3", 0.0),
    ("\\boxed{3\\text{-digit}}", "3", 0.0),
    ("\\boxed{12\\text{ m}^3}", "12", 1.0),
    ("\\boxed{12\\text{ m}^2}", "12\\text{ m}^3", 0.0),
    ("\\boxed{12\\text{ cubic meters}}", "12\\text{ m}^3", 1.0),
    ("\\boxed{90 \\text{ minutes}}", "1.5 \\text{ hours}", 1.0),
    ("\\boxed{90}", "1.5 \\text{ hours}", 0.0),
    ("\\boxed{60 \\text{ miles per hour}}", "60 \\text{ mph}", 1.0),
    ("\\boxed{60 \\text{ km/h}}", "60 \\text{ mph}", 0.0),
    ("\\boxed{10 \\text{ dollars}}", "\\$10", 1.0),
    ("\\boxed{10 \\text{ cents}}", "\\$10", 0.0),
    ("\\boxed{\\$0.25}", "25 \\text{ cents}", 1.0),
    ("\\boxed{\\$0.25}", "25", 0.0),
    ("\\boxed{500}", "\\text{Rs. } 500", 1.0),
    ("\\boxed{20}", "20^\\circ \\text{C}", 1.0),
    ("\\boxed{1.6 \\times 10^{-19}}", "1.6 \\times 10^{-19} \\text{ C}", 1.0),
    ("\\boxed{6.02e23}", "6.02\\times 10^{23}", 1.0),
    ("\\boxed{6.02\\times 10^{22}}", "6.02\\times 10^{23}", 0.0),
    ("\\boxed{6.02\u00d710\u00b2\u00b3}", "6.02\\times 10^{23}", 1.0),
    ("\\boxed{101_{2}}", "101_2", 1.0),
    ("\\boxed{5_{10}}", "101_2", 1.0),
    ("\\boxed{101}", "101_2", 0.0),
    ("\\boxed{FF_{16}}", "FF_{16}", 1.0),
    ("\\boxed{FE_{16}}", "FF_{16}", 0.0),
    ("\\boxed{x_3}", "x_2", 0.0),
    ("\\boxed{x_{2}}", "x_2", 1.0),
    ("\\boxed{3 \\text{ or } 4}", "(3,4)", 0.0),
    ("\\boxed{3 \\text{ and } 4}", "(3,4)", 0.0),
    ("\\boxed{2+2=5}", "101_2", 0.0),
    ("\\boxed{a}", '["a"]', 0.0),
    ('\\boxed{["a"]}', "a", 0.0),
    ("\\boxed{3}", '["3"]', 0.0),
    ("\\boxed{a, b}", '["a", "b"]', 0.0),
    ("\\boxed{['a', 'b']}", '["a", "b"]', 1.0),
    ("\\boxed{[a, b]}", '["a", "b"]', 1.0),
    ("\\boxed{['b', 'a']}", '["a", "b"]', 0.0),
    ("\\boxed{[['a'], ['b']]}", '[["a"], ["b"]]', 1.0),
    ("\\boxed{[['a', 'b']]}", '[["a"], ["b"]]', 0.0),
]
UNMARKED = [
    # completion, reference, value
    ("The answer isn't 7.", "7", 0.0),
    ("The answer can't be 7.", "7", 0.0),
    ("I doubt that the answer is 7.", "7", 0.0),
    ("The answer is 7. Wait, no, that is wrong.", "7", 0.0),
    ("Is the answer 7?", "7", 0.0),
    ("It's not clear, the answer might be 7.", "7", 0.0),
    ("If x = 2, the answer is 7.", "7", 0.0),
    ("There are 7 steps to consider.", "7", 0.0),
    ("Thus x = 7.", "7", 1.0),
    ("Therefore, the value is $7$.", "7", 1.0),
    ("So he has 7 apples.", "7", 1.0),
    ("$x = 7$", "7", 1.0),
    ("7", "7", 1.0),
    ("The final answer is: $\\boxed{7}$", "7", 1.0),
    ("**Final Answer**: 7", "7", 1.0),
    ("**Answer:** $7$", "7", 1.0),
    ("Final answer: x = 7.", "7", 1.0),
    ("The final answer is $\\frac{1}{2}$. I hope it is correct.", "\\frac{1}{2}", 1.0),
    ("The answer is $$\\frac{1}{2}$$", "\\frac{1}{2}", 1.0),
    ("Therefore, \\[x=\\frac{1}{2}.\\]", "\\frac{1}{2}", 1.0),
    ("答案是7。", "7", 1.0),
    ("答案是8。", "7", 0.0),
    ("The result is neither 7 nor 8.", "7", 0.0),
    ("The answer is less than 7.", "7", 0.0),
    ("The answer is 7 or 8.", "7", 0.0),
    ("The answer is between 6 and 7.", "7", 0.0),
    ("I cannot solve this; it is certainly not 7.", "7", 0.0),
    ("I cannot solve this; it is certainly not 42", "42", 0.0),
    ("I first thought 7, but that is wrong.", "7", 0.0),
    ("No, 7 is wrong.", "7", 0.0),
    ("The answer is anything but 7", "7", 0.0),
    ("Let x = 7 and y = 8. Then we stop.", "7", 0.0),
    ("We have x + 7", "7", 0.0),
    ("The number of options is 7. Unfortunately I do not know.", "7", 0.0),
    ("The answer is Paris.", "Paris", 1.0),
    ("The answer is not Paris.", "Paris", 0.0),
    ("The answer is no.", "Yes", 0.0),
    ("The answer is Yes.", "Yes", 1.0),
    ("Yes", "Yes", 1.0),
    ("A", "A", 1.0),
    ("The correct option is (A).", "(A)", 1.0),
    ("The answer is (A), not (B).", "B", 0.0),
    ("The answer is (A), not (B).", "A", 1.0),
    ("A, B, C, D", "D", 0.0),
    ("The answer is E.", "E", 1.0),
    ("Let me think. The answer is 7.\n\nI hope this helps!", "7", 1.0),
    ("The answer is 7\n\nLet me know if you have questions.", "7", 1.0),
    ("So, the total is 3 + 4 = 7.", "7", 1.0),
    ("3 + 4 = 7", "7", 1.0),
    ("Thus, there are 7 ways to choose.", "7", 1.0),
    ("Hence the number of ways is 7!", "7", 0.0),
    ("The answer should be 7.", "7", 1.0),
    ("My final answer: 7", "7", 1.0),
    ("Final Answer: The final answer is $7$. I hope it is correct.", "7", 1.0),
    ("The answer is: 7", "7", 1.0),
    ("The answer is **7**.", "7", 1.0),
    ("The answer to the question is 7.", "7", 1.0),
    ("#### The answer is 7", "7", 1.0),
    ("\\boxed{The answer is 7}", "7", 1.0),
    ("The answer is not clear, but 7 is possible.", "7", 0.0),
    ("I do not believe the answer is 7.", "7", 0.0),
    ("The answer is definitely not 7", "7", 0.0),
    ("The answer is no longer 7.", "7", 0.0),
    ("The answer is 7 only if x > 0.", "7", 0.0),
    ("The answer is about 7.", "7", 1.0),
    ("The answer is at most 7.", "7", 0.0),
    ("The answer is more than 7.", "7", 0.0),
    ("Nobody says the answer is 7.", "7", 0.0),
    ("It is false that the answer is 7.", "7", 0.0),
    ("Some say the answer is 6. Others say the answer is 7.", "7", 0.0),
    ("The answer is 6. The answer is 7.", "7", 0.0),
    ("7 or 8", "7", 0.0),
    ("7?", "7", 0.0),
    ("not 7", "7", 0.0),
    ("I got 7, which is wrong.", "7", 0.0),
    ("Step 7", "7", 0.0),
    ("Question 7:", "7", 0.0),
    ("So the probability is $\\frac{1}{2}$.", "\\frac{1}{2}", 1.0),
    ("The probability is \\(\\frac{1}{2}\\).", "\\frac{1}{2}", 1.0),
    ("f(x) = x^2", "x^2", 1.0),
    ("The solution is $(1, 2)$.", "(1,2)", 1.0),
    ("The solutions are 1 and 2.", "1,2", 1.0),
    ("The solutions are $x=1$ and $x=2$.", "1,2", 1.0),
    ("The solutions are 1 and 2.", "1", 0.0),
    ("I think the answer is Paris", "Paris", 1.0),
    ("Paris is not the answer", "Paris", 0.0),
    ("B is wrong. The answer is A.", "B", 0.0),
    ("<think>7</think>42", "42", 1.0),
    ("<think>the answer is 42", "42", 0.0),
    ("", "42", 0.0),
    ("Answer: \n42", "42", 1.0),
    ("**Answer**\n\n42", "42", 1.0),
    ("\u7b54\uff1a42", "42", 1.0),
    ("\u6240\u4ee5\u7b54\u6848\u662f $42$\u3002", "42", 1.0),
    ("\u041e\u0442\u0432\u0435\u0442: 42", "42", 1.0),
    ("\\boxed{42} or maybe \\boxed{43}", "42", 0.0),
    ("It is not \\boxed{42}", "42", 1.0),
    ("\\boxed{\\text{not }42}", "42", 0.0),
    ("\\boxed{\\neg 42}", "42", 0.0),
    ("\\boxed{42 \\text{ is wrong}}", "42", 0.0),
    ("\\boxed{\\text{I don't know, perhaps } 42}", "42", 0.0),
    ("\\boxed{42 \\text{ or so}}", "42", 0.0),
    ("\\boxed{41.9999}", "42", 0.0),
    ("\\boxed{42\\ldots}", "42", 0.0),
    ("\\boxed{42, 43, \\ldots}", "42", 0.0),
    ("\\boxed{4 2}", "42", 0.0),
    ("\\boxed{42_{10}}", "42", 1.0),
    ("\\boxed{42 x^0}", "42", 1.0),
    ("\\boxed{0042}", "42", 1.0),
    ("\\boxed{42\\%}", "42", 1.0),
    ("\\boxed{0.42}", "42", 0.0),
    ("\\boxed{-42}", "42", 0.0),
    ("\\boxed{|42|}", "42", 1.0),
    ("\\boxed{\\overline{42}}", "42", 0.0),
    ("\\boxed{42'}", "42", 0.0),
    ("\\boxed{42^\\circ}", "42", 1.0),
    ("\\boxed{42 \\text{ million}}", "42", 0.0),
    ("\\boxed{42\\text{k}}", "42", 0.0),
    ("\\boxed{x < 42}", "42", 0.0),
    ("\\boxed{41 < x < 43}", "42", 0.0),
    ("\\boxed{\\{41, 42\\}}", "42", 0.0),
    ("\\boxed{(42, 0)}", "42", 0.0),
    ("\\boxed{[0, 42]}", "42", 0.0),
    ("\\boxed{42 + C}", "42", 0.0),
    ("\\boxed{42n}", "42", 0.0),
    ("\\boxed{42 + 0i}", "42", 1.0),
    ("\\boxed{x^2 + C}", "x^2+C", 1.0),
    ("\\boxed{x^2}", "x^2+C", 0.0),
    ("\\boxed{\\frac{1}{\\sqrt{2}}}", "\\frac{\\sqrt{2}}{2}", 1.0),
    ("\\boxed{\\frac{1}{2-\\sqrt{3}}}", "2+\\sqrt{3}", 1.0),
    ("\\boxed{\\sqrt{5+2\\sqrt{6}}}", "\\sqrt{2}+\\sqrt{3}", 1.0),
    ("\\boxed{\\sqrt{2}}", "\\sqrt[4]{4}", 1.0),
    ("\\boxed{\\sqrt[3]{4}}", "2^{2/3}", 1.0),
]


@pytest.mark.parametrize("rows", [MARKED, UNMARKED], ids=["marked", "unmarked"])
def test_answers_are_paid_when_they_are_right(rows: list[tuple[str, str, float]]) -> None:
    scores = Math(timeout=20.0, workers=1).score_batch([Sample("q", text, reference) for text, reference, _ in rows])
    wrong = [(row, score) for row, score in zip(rows, scores, strict=True) if score.value != row[2]]
    assert wrong == []


def test_an_unmarked_answer_can_be_ruled_out() -> None:
    said = Sample("q", "The answer is 7.", "7")
    assert Math()(said).value == 1.0
    assert Math(marked=True)(said).value == 0.0
    assert Math(marked=True)(Sample("q", "The answer is \\boxed{7}.", "7")).value == 1.0


@pytest.mark.parametrize(
    ("prompt", "answer", "value"),
    [
        ("Write 6 in base 2.", "110_2", 1.0),
        ("Write 6 in base 2.", "6", 0.0),
        ("Write 6 in base 2.", "20_3", 0.0),
        ("How many?", "6", 1.0),
        ("How many?", "20_3", 1.0),
    ],
)
def test_a_question_about_bases_wants_the_base_of_its_reference(prompt: str, answer: str, value: float) -> None:
    assert Math(workers=1)(Sample(prompt, f"\\boxed{{{answer}}}", "110_2")).value == value


SETS = [
    # reference, answer, equal
    ("x \\ne 0", "(-\\infty,0)\\cup(0,\\infty)", True),
    ("(-\\infty,0)\\cup(0,\\infty)", "\\mathbb{R}\\setminus\\{0\\}", True),
    ("\\mathbb R - \\{0\\}", "x \\neq 0", True),
    ("x \\ne 0", "x \\ne 1", False),
    ("x \\ne 0", "0", False),
    ("x \\neq 1, 2", "(-\\infty,1)\\cup(1,2)\\cup(2,\\infty)", True),
    ("x \\neq 1, 2", "x \\ne 2 \\text{ and } x \\ne 1", True),
    ("x \\neq 1, 2", "x \\notin \\{1, 2\\}", True),
    ("x \\neq 1, 2", "x \\neq 1", False),
    ("x \\neq 1", "x \\ne 1 \\text{ or } x \\ne 2", None),
    ("x \\ne \\pm 2", "\\mathbb{R}\\backslash\\{-2, 2\\}", True),
    ("\\text{all real numbers except } 1 \\text{ and } 2", "x \\ne 1, 2", True),
    ("(-\\infty,\\sqrt2)\\cup(\\sqrt2,\\infty)", "x\\ne\\sqrt{2}", True),
    ("|x-2|<3", "(-1,5)", True),
    ("|x-2|<3", "-1<x<5", True),
    ("|x-2|<3", "-1\\le x\\le 5", False),
    ("|x-2|<3", "|2-x|<3", True),
    ("|x-2|<3", "|x-2|<4", False),
    ("|x-2|>3", "(-1,5)", False),
    ("\\left|x\\right|\\ge 2", "(-\\infty,-2]\\cup[2,\\infty)", True),
    ("|x|\\ge 2", "x\\le -2 \\text{ or } x\\ge 2", True),
    ("|x|<-1", "\\emptyset", True),
    ("|x|>0", "x\\ne 0", True),
    ("|2x+1|\\le 5", "[-3,2]", True),
    ("|x-a|\\le b", "a-b\\le x\\le a+b", True),
    ("|x-a|\\le b", "[a-b,a+b]", True),
    ("|x-a|\\le b", "(a-b,a+b)", None),
    ("|x|<\\ln 2", "(-\\ln 2,\\ln 2)", True),
    ("\\{x \\mid x>0\\}", "(0,\\infty)", True),
    ("\\{x \\mid x>0\\}", "[0,\\infty)", False),
    ("\\{x\\in\\mathbb{R} : |x|<1\\}", "(-1,1)", True),
    ("\\{x \\mid x\\ge 1 \\text{ or } x<0\\}", "(-\\infty,0)\\cup[1,\\infty)", True),
    ("x>0 \\text{ and } x<1", "(0,1)", True),
    ("x>0 \\text{ and } x<1", "(-\\infty,\\infty)", False),
    ("x<0, x>1", "(-\\infty,0)\\cup(1,\\infty)", True),
    ("x<0 \\text{ and } x>1", "(-\\infty,0)\\cup(1,\\infty)", True),
    ("0\\le x<5, x\\ne 3", "[0,3)\\cup(3,5)", True),
    ("(0,\\infty)\\setminus\\{1\\}", "x>0, x\\ne 1", True),
    ("[0,2]\\cap[1,3]", "1\\le x\\le 2", True),
    ("x>3", "3<x<\\infty", True),
    ("x>3", "y>3", False),
    ("2x>4", "x>2", True),
    ("x>2", "2x>4", None),
    ("a<b", "b>a", True),
    ("t<5 \\text{ s}", "t<5 \\text{ s}", True),
    ("x\\in\\{1,2\\}", "1, 2", True),
    ("(1,5)", "(5,1)", False),
    ("\\{1\\}\\cup\\{2\\}", "2, 1", True),
]


@pytest.mark.parametrize(("reference", "answer", "equal"), SETS)
def test_sets_of_numbers_are_compared_as_sets(reference: str, answer: str, equal: bool | None) -> None:
    assert equal_answers(reference, answer) is equal


ends = st.sampled_from(["-2", "0", "\\frac{1}{2}", "\\sqrt{2}", "\\frac{3}{2}", "2", "\\pi"])


@settings(max_examples=150, deadline=None)
@given(ends, ends, ends)
def test_ends_of_sets_are_compared_exactly(low: str, high: str, point: str) -> None:
    span = f"|x-({low})|<\\frac{{1}}{{4}}"
    inside = f"({low}-\\frac14,{low}+\\frac14)"
    assert equal_answers(span, inside) is True
    assert equal_answers(f"\\mathbb{{R}}\\setminus\\{{{low},{high}\\}}", f"x\\ne {high}, {low}") is True
    assert equal_answers(f"x\\ne {low}", f"x\\ne {point}") is (low == point)
    assert equal_answers(f"x\\le {low}", f"x<{point}") is False
    assert equal_answers(f"x<{low} \\text{{ or }} x>{low}", f"x\\ne {point}") is (low == point)


@pytest.mark.parametrize(
    ("prompt", "answer", "reference", "value"),
    [
        ("Solve $|x-2| < 3$.", "|x-2|<3", "(-1,5)", 0.0),
        ("Solve $\\left|x-2\\right| < 3$.", "|2x-4|<6", "-1<x<5", 0.0),
        ("Solve $\\{x : |x-2| < 3\\}$.", "|2-x|<3", "(-1,5)", 0.0),
        ("Solve $|x-2| < 3$.", "-1<x<5", "(-1,5)", 1.0),
        ("Where does the series converge?", "|x-2|<3", "(-1,5)", 1.0),
        ("Write $-1<x<5$ with $|x-2|$.", "|x-2|<3", "|x-2|<3", 1.0),
    ],
)
def test_the_inequality_of_the_question_is_no_solution(prompt: str, answer: str, reference: str, value: float) -> None:
    assert Math(workers=1)(Sample(prompt, f"\\boxed{{{answer}}}", reference)).value == value


@pytest.mark.parametrize(
    "answer",
    [
        "\\operatorname{cis} 60^\\circ",
        "\\text{cis}(60^{\\circ})",
        "e^{60^\\circ i}",
        "\\cos 60^\\circ + i\\sin 60^\\circ",
        "1 \\angle 60^\\circ",
    ],
)
def test_complex_numbers_are_read_in_degrees(answer: str) -> None:
    assert equal_answers("\\frac{1}{2}+\\frac{\\sqrt{3}}{2}i", answer) is True
    assert equal_answers("\\frac{1}{2}-\\frac{\\sqrt{3}}{2}i", answer) is False


def test_cis_is_also_a_word() -> None:
    assert equal_answers("cis isomer", "Cis isomer") is True
    assert equal_answers("cis", "trans") is False


UNREADABLE = "y = 2x \\text{ for every } x \\text{ of the second kind}"


def test_text_that_equals_the_reference_passes_where_it_cannot_be_read() -> None:
    reward = Math(workers=1)
    assert reward(Sample("q", f"\\boxed{{{UNREADABLE}}}", UNREADABLE)).value == 1.0
    assert reward(Sample("q", f"#### ${UNREADABLE}$.", UNREADABLE)).value == 1.0
    assert reward(Sample("q", "\\boxed{y = 2x \\text{ for no } x}", UNREADABLE)).value is None


EXPRESSIONS = [
    # expression, another, equal
    ("x^2+2x+1", "(x+1)^2", True),
    ("\\sqrt{8}", "2\\sqrt{2}", True),
    ("\\frac{\\sqrt{3}}{3}", "\\frac{1}{\\sqrt{3}}", True),
    ("\\frac{1}{2004!}", "\\frac{1}{2006!}", False),
    ("e^{-20}", "e^{-30}", False),
    ("10^{-8}", "10^{-9}", False),
    ("2\\sin b\\cos a", "2\\cos a\\sin b", True),
    ("\\log_{2}{5}+1", "1+\\log_{2}{5}", True),
    ("\\sin^2 x+\\cos^2 x", "1", None),
    ("e^{2x}", "(e^x)^2", None),
    ("14-i", "14+i", False),
    ("i^2", "-1", True),
    ("\\frac{x^2-1}{x-1}", "x+1", True),
    ("\\sqrt[3]{8}", "2", True),
    ("\\sqrt[3]{2}", "2^{1/3}", True),
    ("\\binom{5}{2}", "10", True),
    ("2^{100}", "2^{101}", False),
    ("2\\frac{1}{2}", "\\frac{5}{2}", True),
    ("x^{-1}", "\\frac1x", True),
    ("(1+\\sqrt{2})^2", "3+2\\sqrt{2}", True),
    ("\\frac{1}{1+\\sqrt{2}}", "\\sqrt{2}-1", True),
    ("\\sqrt{6}", "\\sqrt{2}\\sqrt{3}", True),
    ("\\sqrt{-4}", "2i", True),
    ("e^{i\\pi}", "-1", True),
    ("e^{i\\pi}", "1", False),
    ("e^{-i\\pi/2}", "-i", True),
    ("e^{i\\pi/2}", "-i", False),
    ("e^{7i\\pi/3}", "\\frac{1+i\\sqrt{3}}{2}", True),
    ("\\sqrt{2}e^{\\frac{3\\pi i}{4}}", "-1+i", True),
    ("e^{2+i\\pi}", "-e^2", True),
    ("e^{i\\theta}", "\\cos\\theta+i\\sin\\theta", True),
    ("e^{-i\\theta}", "\\cos\\theta-i\\sin\\theta", True),
    ("e^{i\\theta}", "\\cos\\theta-i\\sin\\theta", None),
    ("\\cis(\\frac{\\pi}{12})", "\\frac{\\sqrt{6}+\\sqrt{2}}{4}+\\frac{\\sqrt{6}-\\sqrt{2}}{4}i", True),
    ("4\\cos\\frac{2\\pi}{5}", "\\sqrt{5}-1", True),
    ("\\sin\\frac{\\pi}{7}", "\\cos\\frac{5\\pi}{14}", True),
    ("\\tan\\frac{2\\pi}{3}", "-\\sqrt{3}", True),
    ("\\tan\\frac{2\\pi}{3}", "\\sqrt{3}", False),
    ("\\sin(-x)", "-\\sin x", True),
]


@pytest.mark.parametrize(("first", "second", "equal"), EXPRESSIONS)
def test_expressions_are_compared_exactly(first: str, second: str, equal: bool | None) -> None:
    sides = read_expression(first), read_expression(second)
    assert sides[0]
    assert sides[1]
    assert equal_expressions(*sides) is equal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1/2x",
        "2 3",
        "f(2)",
        "x^",
        "(",
        "1/0",
        "|x|",
        "9^9^9^9",
        "2^{10000000}",
        "10000!",
        "5\\frac{7}{2}",
        "\\tan\\frac{\\pi}{2}",
    ],
)
def test_what_is_ambiguous_or_too_large_is_left_to_math_verify(text: str) -> None:
    expression = read_expression(text)
    assert expression is None or expression.functions


@pytest.mark.parametrize(
    ("answer", "several"),
    [
        ("3 or 4", True),
        ("3, 4", True),
        ("3; 4", True),
        ("3 \\quad \\text{and} \\quad 4", True),
        ("3 (or 4)", True),
        ("\\pm 3", True),
        ("1,234", False),
        ("1{,}234", False),
        ("(3, 4)", False),
        ("f(1, 2) = 3", False),
        ("7, 7", False),
        ("7, thanks", False),
        ("sand or gold", False),
        ("", False),
    ],
)
def test_alternatives_are_told_from_one_answer(answer: str, several: bool) -> None:
    assert offers_several(canonical(answer)) is several


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="0123456789+-*/^_=(){}[]<>,.;: \\abxy\u221a\u00bd", max_size=24))
def test_no_text_breaks_the_readers(text: str) -> None:
    for form in (text, f"#### {text}", f"\\boxed{{{text}}}", f"the answer is {text}"):
        answer = read_answer(form).text
        is_single(canonical(answer))
        has_prose(answer)
        assert equal_answers(answer, answer) is not False
        equal_answers("\\frac{x+1}{2}", answer)
        equal_answers("(1,2]", answer)


def test_long_repetitions_are_read_in_no_time() -> None:
    for piece in (
        "answer ",
        "the answer is ",
        "1, ",
        "a) ",
        "\\boxed{",
        "3 \n\n\n",
        "(",
        "####",
        "x=",
        "= ",
        "\\[ ",
        "is ",
    ):
        read_answer(piece * 20_000)
        answer = (piece * 400)[:1200]
        equal_answers("7", answer)
        structure(canonical(answer))


numbers = st.builds("{}/{}".format, st.integers(-99, 99), st.integers(1, 30)) | st.integers(-(10**12), 10**12).map(str)
frames = st.sampled_from(
    ["{}", "${}$", "**{}**", "\\text{{{}}}", "{}.", "x = {}", "\\color{{red}}{{{}}}", "{} \\text{{ cm}}", "\\({}\\)"]
)


@settings(max_examples=150, deadline=None)
@given(numbers, numbers, frames, frames)
def test_a_frame_never_changes_a_verdict(first: str, second: str, frame: str, other_frame: str) -> None:
    sides = frame.format(first), other_frame.format(second)
    assert equal_answers(*sides) is (Fraction(first) == Fraction(second))
    assert equal_answers(frame.format(first), other_frame.format(first)) is True
