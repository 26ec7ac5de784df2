"""Recordings as tables: exact numbers, orders and names of scenarios that are scripted."""

import matplotlib
import pytest

from looplabs import Lab, RecordingError, draw, read

matplotlib.use("Agg")


def test_iterations_are_those_of_the_script(rec):
    """Nine kinds of events in turn; a row says who chose the timeout and what was called."""
    loop = rec.iterations("main loop")
    assert list(loop.n) == list(range(23))
    assert list(loop.by[:3]) == ["bh", "timer", "nobody"]
    assert list(loop.chooser[:2]) == ["five_bh_cb", "five_device_timer_cb"]
    assert loop.callbacks[3] == ["sigfd_handler"]
    assert loop.callbacks[4] == ["five_bh_cb", "aio_context_notifier_cb"]
    assert list(loop.n_fds) == [5] * 23


def test_every_begin_has_its_end(rec):
    for table in (rec.iterations(), rec.callbacks()):
        assert (table.end_ns >= table.begin_ns).all()
    assert (rec.callbacks().end_ns >= 0).all()


def test_callbacks_are_counted_as_the_program_counts_them(rec):
    said = dict(line.split("=") for line in rec.said.splitlines() if "=" in line)
    counts = rec.callbacks().cb.value_counts()
    assert counts["five_bh_cb"] == int(said["bh_calls"])
    assert counts["sigfd_handler"] == int(said["signals"])
    assert counts["vnc-listener"] == int(said["vnc_connections"])
    assert counts["five_io0_bh"] == int(said["io0_bh_calls"])


def test_a_wake_up_names_who_wrote(rec):
    wakes = rec.wakeups("main loop")
    by_vcpu = wakes[wakes.written_by == "CPU 0/DEMO"]
    assert set(by_vcpu.fd) == {4, 5} and set(by_vcpu.site) == {"vcpu_thread"}


def test_a_notify_is_written_only_if_somebody_sleeps(rec):
    notifies = rec.notifies()
    assert len(notifies) == 30
    assert (notifies.written == (notifies.notify_me > 0)).all()


def test_handlers_say_who_registered_them(rec):
    handlers = rec.handlers()
    signal = handlers[handlers.io_read == "sigfd_handler"].iloc[0]
    assert (signal.op, signal.ctx, signal.by) == (
        "add",
        "iohandler_ctx",
        "qemu_init_main_loop",
    )


def test_the_big_lock_is_taken_after_each_poll(rec):
    taken = rec.bql()
    assert (taken.site == "main_loop_wait").sum() == 23
    assert (taken.hold_ns.dropna() >= 0).all()


def test_nested_polls_are_inside_of_their_callback():
    rec = Lab(1, keep=False).record("nested-drain", iterations=5)
    nested = rec.nested()
    assert len(nested) == 10 and set(nested.depth) == {2}
    assert set(nested.called_by) == set(nested.site) == {"monitor_read"}
    inside = rec.callbacks()
    assert {"request_bh", "request_read"} <= set(inside.cb[inside.poll_depth == 2])


def test_a_story_is_one_iteration_of_one_thread(rec):
    story = rec.story(3)
    assert story.event.iloc[0] == "iteration_begin"
    assert story.event.iloc[-1] == "iteration_end"
    assert list(story.event).count("poll_enter") == 1
    only = rec.story(3, "main loop", "fd_ready")
    assert set(only.event) == {"fd_ready"}
    with pytest.raises(KeyError):
        rec.story(23)


def test_log_and_of_have_the_same_events(rec):
    assert len(rec.log()) == rec.counts().sum()
    assert len(rec.of("timer_arm")) == rec.counts()["timer_arm"]
    assert rec.of("no_such_event").empty


def test_a_directory_without_a_recording_is_refused_in_one_line(tmp_path):
    with pytest.raises(RecordingError, match="no recording"):
        read(tmp_path)
    (tmp_path / "metadata").write_text("nonsense")
    with pytest.raises(RecordingError, match="not a recording"):
        read(tmp_path)


@pytest.mark.parametrize(
    "figure",
    [
        draw.steps,
        draw.timeline,
        draw.callback_histogram,
        draw.wakeup_graph,
        draw.timeouts,
        draw.bql,
        lambda rec: draw.nested_polls(rec, 1),
    ],
)
def test_figures_are_drawn_of_much_and_of_nothing(rec, figure, tmp_path):
    """A recording that has nothing to show gives a figure that says so."""
    empty = Lab(1, keep=False).record("signal", iterations=0)
    for number, which in enumerate((rec, empty)):
        path = tmp_path / f"{number}.png"
        figure(which).savefig(path, dpi=40)
        assert path.stat().st_size > 1000
