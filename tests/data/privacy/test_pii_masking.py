"""Personal data in reviews is replaced by placeholders; sizes, models, brands and ordinary words are kept."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.data.privacy.pii_masking import ADDRESS, LINK, MAIL, NAME, NUMBER, PHONE, mask_personal_data
from crossaisle.prompts import sanitize_for_prompt
from crossaisle.recommend.evidence.review_excerpts import complaint_excerpt, praise_excerpt

# All invented.
PERSONAL = [
    ("I bought it for my daughter Anna, she loves it. Anna says hi.", "I bought it for my daughter (name), she loves it. (name) says hi."),
    ("Our twins Max and Mia sleep well.", "Our twins (name) and (name) sleep well."),
    ("My husband, Peter, says so.", "My husband, (name), says so."),
    ("My son's name is Leo.", "My son's name is (name)."),
    ("My best friend Laura O'Neil has it too.", "My best friend (name) has it too."),
    ("Thanks Maria!", "Thanks (name)!"),
    ("Thank you so much, John", "Thank you so much, (name)"),
    ("Mr. Brown came by with Mrs Miller.", "Mr. (name) came by with Mrs (name)."),
    ("It is great. signed, John", "It is great. signed, (name)"),
    ("Best regards, Tom Miller", "Best regards, (name)"),
    ("Works well. - Peter K.", "Works well. - (name)"),
    ("Works well -Peter K.", "Works well -(name)"),
    ("Works well.\n– Peter", "Works well.\n– (name)"),
    ("I spoke with Kevin on Monday.", "I spoke with (name) on Monday."),
    ("Hello, I'm Anna, and I like it.", "Hello, I'm (name), and I like it."),
    ("Meine Tochter Lena liebt es.", "Meine Tochter (name) liebt es."),
    ("Write to ann.k+shop@example.co.uk for more.", "Write to (e-mail) for more."),
    ("anna (at) mail (dot) com", "(e-mail)"),
    ("ann\u200ba@exam\u200bple.com", "(e-mail)"),
    ("Find me as @anna_knits there.", "Find me as (e-mail) there."),
    ("Call me on 555 123 4567 please.", "Call me on (phone) please."),
    ("Call 555-1234 now", "Call (phone) now"),
    ("Tel. 030 1234567", "Tel. (phone)"),
    ("Ring (020) 7946 0958 or +49 171 5551234.", "Ring (phone) or (phone)."),
    ("Order 1234567 came late.", "order (number) came late.".replace("o", "O", 1)),
    ("Order #112-1234567-1234567", "Order #(number)"),
    ("My tracking number is 1Z999AA10123456784.", "My tracking number is (number)."),
    ("Invoice no. 2024-00123 was wrong.", "Invoice no. (number) was wrong."),
    ("4111 1111 1111 1111", "(number)"),
    ("3782-822463-10005", "(number)"),
    ("DE89 3704 0044 0532 0130 00", "(number)"),
    ("We live at 12 Maple Street, Springfield, IL 62704", "We live at (address)"),
    ("Bring it to Hauptstraße 12, 10115 Berlin", "Bring it to (address)"),
    ("12 rue de la Paix", "(address)"),
    ("P.O. Box 123", "(address)"),
    ("At SW1A 1AA they know.", "At (address) they know."),
    ("See https://example.com/a?b=1 for it.", "See (link) for it."),
    ("It is cheaper at cheap-lamps.com, see bit.ly/x1y2", "It is cheaper at (link), see (link)"),
]
ORDINARY = [
    "3000 mAh and 12V, 20-25 kg, 2,5 l, 1080p, since 1995, 10000 mAh, 10,000 mAh, 20000 lumens, case 12000 BTU",
    "Bought in 2019-2020 or on 01/02/2024; 192 kHz, 24/96, 1920x1080, 3840 x 2160, 100 000 hours, 1000000 cycles, 4.5/5, size 38/40",
    "Thanks Amazon! Thank God. Thanks again. Thank you so much for this.",
    "My Sony TV, the Nikon D750 and the iPhone 13 Pro Max 128GB, USB 3.0, M1 8GB, model number 123456 fits the B00ABC1234",
    "Dr. Bronner's soap, Dr. Martens boots and a Mr. Coffee machine",
    "My Daughter Loves It. Great for my son. Highly recommended. My husband and I use it daily, he says. My wife I think likes it.",
    "2 Western Digital Hard Drive, Works in Berlin and Rome. On Sundays too.",
    "A gift for my mom. Christmas came early. Grandma Approved",
    "5 stars. - Great",
    "It came up at 4 and by day two it was done.Very good.",
]


@pytest.mark.parametrize(("text", "masked"), PERSONAL)
def test_personal_data_is_replaced_by_placeholders(text: str, masked: str) -> None:
    assert mask_personal_data(text) == masked
    assert masked != text


def test_placeholders_survive_sanitization() -> None:
    signs = {NAME, MAIL, PHONE, NUMBER, ADDRESS, LINK}
    assert all(sanitize_for_prompt(sign) == sign for sign in signs)
    assert {sign for _, masked in PERSONAL for sign in signs if sign in masked} == signs


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert mask_personal_data(text) == text


@given(
    st.lists(st.sampled_from([*(text for text, _ in PERSONAL), *ORDINARY, " ", "\n", "a ", "7", "Anna", ". - "]), max_size=5).map(" ".join)
)
def test_masking_is_idempotent(text: str) -> None:
    assert mask_personal_data(mask_personal_data(text)) == mask_personal_data(text)


@given(st.text(max_size=200))
def test_any_text_can_be_masked(text: str) -> None:
    assert mask_personal_data(mask_personal_data(text)) == mask_personal_data(text)


@pytest.mark.parametrize(("text", "masked"), PERSONAL)
def test_quotes_contain_no_personal_data(text: str, masked: str) -> None:
    gone = set(re.findall(r"\w{2,}", text)) - set(re.findall(r"\w{2,}", masked))
    assert gone
    praise = praise_excerpt(f"It boils a litre in three minutes. So we took the tent along with us, and {text}", "took the tent along")
    complaint = complaint_excerpt(f"The lid broke in the first week, and {text}")
    for quote in (praise, complaint):
        assert quote is None or not gone & set(re.findall(r"\w{2,}", quote))


def test_name_introduced_in_one_sentence_is_not_quoted_from_the_next() -> None:
    assert praise_excerpt("For my daughter Anna. Anna takes it on every long hike.") is None
    assert praise_excerpt("For my daughter. She takes it on every long hike.") == "She takes it on every long hike."


@pytest.mark.parametrize(
    "text",
    [
        "Runs all day on its 3000 mAh and 12V battery.",
        "Holds a dog of 20-25 kg and 2,5 l of water.",
        "Shows films in 1080p like our Sony of 1995.",
    ],
)
def test_product_numbers_are_quoted(text: str) -> None:
    assert praise_excerpt(text) == text
