"""Open questions: each is answered once, in time, and not more than so many are open."""

from sacip_tun.protocol.questions import MAX_QUESTION_AGE, MAX_QUESTIONS, Questions


def test_a_question_is_answered_once_and_in_time() -> None:
    questions = Questions()
    questions.ask(7, now=1.0)
    questions.ask(8, now=1.0)
    assert questions.answered(9, now=1.5) is None
    assert questions.answered(7, now=1.5) == 1.0
    assert questions.answered(7, now=1.5) is None
    assert questions.answered(8, now=1.1 + MAX_QUESTION_AGE) is None


def test_the_oldest_is_forgotten_where_there_are_too_many() -> None:
    questions = Questions()
    for token in range(MAX_QUESTIONS + 3):
        questions.ask(token, now=1.0)
    open_ones = [n for n in range(MAX_QUESTIONS + 3) if questions.answered(n, now=1.0) is not None]
    assert open_ones == list(range(3, MAX_QUESTIONS + 3))
