"""The sessions of the lesson on clusters, played on a real Slurm, show what their recorded transcripts show."""

import pytest

from course_utils.classroom.transcripts import SESSIONS, observed

LIVE = [name for name, session in SESSIONS.items() if session.live]
SHOWN = {
    "folder": ["JobState=FAILED"],
    "echo": ["can't open file 'train.py'", "JobState=COMPLETED", "ExitCode=0:0"],
    "trap": ["never asked to stop", "trap: asks for a stop", "ExitCode=0:0"],
    "mended": ["start after 0", "trap: asks for a stop", "saved", "start after 1", "complete", "Restarts=1"],
}


@pytest.mark.parametrize("name", LIVE)
def test_a_session_played_here_shows_what_the_lesson_says(cluster, name, tmp_path, monkeypatch):
    for variable, value in cluster.environment.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir(tmp_path)
    said = observed(name)
    assert said.startswith("# Live, on the slurm"), said
    submitted = said.index("$ sbatch")  # the script is shown before it, with the same words in it
    places = [said.find(words, submitted) for words in SHOWN[name]]
    assert -1 not in places, said
    assert places == sorted(places), said
    assert not list(tmp_path.iterdir())
