from limits import not_held
from moves import BY_NAME
from plot import curve
from results import merged, read, write
from summary import summarized
from table import duration, durations, ours, stalls, streams
from trial import Result
from verdict import Observed, Outcome

MOVE = BY_NAME["replaced"]


def result(*flows: Observed, run: int = 0, contender: str = "sacip-tun", **more) -> Result:
    return Result("replaced", contender, "both", run, flows, outages=((1.0, 1.004),), **more)


def held(name: str, beyond: float, retransmissions: int = 0) -> Observed:
    return Observed(name, Outcome.HELD, beyond, beyond, retransmissions)


def rows(results, render, *names):
    names = names or ("sacip-tun",)
    found = {("replaced", name): summarized(results, "replaced", name) for name in names}
    return render([MOVE], names, found).splitlines()[2:]


def test_the_worst_flow_of_each_run_counts_then_the_median_and_the_worst_run() -> None:
    results = [
        result(held("up", 0.010), held("down", 0.030), run=0),
        result(held("up", 0.050), held("down", 0.020), run=1),
        result(held("up", 0.012), held("down", 0.011), run=2),
    ]
    assert rows(results, stalls) == [f"| {MOVE.title} | 4 ms | 60 ms | 30, 50 ms |"]


def test_what_broke_is_named_and_where_all_broke_only_how() -> None:
    never = Observed("down", Outcome.NEVER, 40.0, 40.0)
    died = Observed("up", Outcome.DIED, 1.0, 1.0)
    assert rows([result(never, held("up", 0.1))], stalls)[0].endswith("| never: down |")
    assert rows([result(never)], stalls)[0].endswith("| never |")
    assert rows([result(never, died)], stalls)[0].endswith("| died: up; never: down |")


def test_a_trial_that_could_not_be_made_is_not_a_good_one() -> None:
    results = [result(held("up", 0.01)), result(run=1, error="no HELLO")]
    assert rows(results, stalls)[0].endswith("| could not be made |")


def test_the_stream_has_its_own_table() -> None:
    first = Observed("stream", Outcome.HELD, 0.1, 0.02, None, 5, 0, 0)
    second = Observed("stream", Outcome.HELD, 0.2, 0.04, None, 5, 3, 1)
    results = [result(first), result(second, run=1), result(second, run=2)]
    assert rows(results, streams)[0].endswith("| 3, 3 lost, 1 twice, gap 40, 40 ms |")
    gone = result(Observed("stream", Outcome.NEVER, 9.0, 9.0, None, 5, 3, 1))
    assert rows([gone], streams)[0].endswith("| never came back |")
    assert rows([result(held("up", 0.1), first)], stalls)[0].endswith("| 100, 100 ms |")


def test_ours_shows_every_flow() -> None:
    results = [result(held("up", 0.01, 3), held("down", 0.02, 1), moved=2)]
    row = ours([MOVE], {("replaced", "sacip-tun"): summarized(results, "replaced", "sacip-tun")})
    cells = [cell.strip() for cell in row.splitlines()[2].strip("|").split("|")]
    assert cells[1:] == ["2 of 2", "-", "-", "10, 10 ms", "20, 20 ms", "-", "4, 4", "2"]


def test_units() -> None:
    assert [duration(seconds) for seconds in (0.0004, 0.0206, 0.9996, 9.94, 26.5)] == [
        "0 ms",
        "21 ms",
        "1.0 s",
        "9.9 s",
        "26 s",
    ]
    assert durations(0.5, 2.0) == "500 ms, 2.0 s"


def test_results_survive_the_file_and_what_is_made_anew_replaces_what_was(tmp_path) -> None:
    old = [result(held("up", 0.1)), result(held("up", 26.0), contender="wireguard-go")]
    write(tmp_path / "results.json", old, {})
    assert read(tmp_path / "results.json") == old
    new = [result(held("up", 0.01))]
    assert merged(old, new) == [old[1], new[0]]


def test_a_curve_adds_up_what_came_in() -> None:
    # 2500 bytes in 10 ms are 2 Mbit/s; from 50 ms after the move on, for 40 ms.
    points = curve([2500] * 4, 0.05, (0.0, 0.1), 0.02)
    assert [round(rate, 3) for _, rate in points] == [0.0, 0.0, 1.0, 2.0, 1.0]


def test_a_row_holds_by_its_median_and_by_every_packet_of_the_stream() -> None:
    slow = [result(held("down", seconds)) for seconds in (0.05, 0.05, 9.0)]
    assert not_held(slow, [MOVE]) == []
    assert len(not_held([result(held("down", 0.2))], [MOVE])) == 1
    assert len(not_held([result(Observed("down", Outcome.NEVER, 40.0, 40.0))], [MOVE])) >= 1
    stream = Observed("stream", Outcome.HELD, 0.01, 0.01, lost=1, lost_beyond=1, duplicated=0)
    assert len(not_held([result(stream)], [MOVE])) == 1
    twice = Observed("stream", Outcome.HELD, 0.01, 0.01, lost=0, lost_beyond=0, duplicated=1)
    assert len(not_held([result(twice)], [MOVE])) == 1
