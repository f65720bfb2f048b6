"""`pocketportrait prepare`: videos in, training data out, whatever interrupts it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pocketportrait import atomic
from pocketportrait.distill.prepare.assembly import Selection, select, write_data, write_report
from pocketportrait.distill.prepare.executor import Executor, LocalExecutor
from pocketportrait.distill.prepare.identity import find_model
from pocketportrait.distill.prepare.record import Records, VideoRecord, file_sha256
from pocketportrait.distill.prepare.settings import BY_SOURCE, ORIGINS, Rights, Settings
from pocketportrait.distill.prepare.video import VideoJob, prepare_video
from pocketportrait.errors import InputError

# what `media.container` opens and people have videos in
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mts", ".m2ts"),
    *(".ts", ".mpg", ".mpeg", ".flv", ".wmv", ".ogv", ".mxf", ".3gp"),
)


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """What is prepared, and how."""

    videos: tuple[Path, ...]  # files, or folders of them
    out: Path
    licence: str | None
    origin: str = ORIGINS[0]
    settings: Settings = field(default_factory=Settings)  # `identity_model` is filled in
    score_models: Path | None = None
    executor: Executor = field(default_factory=LocalExecutor)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What came out."""

    manifest: Path
    report: Path
    num_videos: int  # all in the folder
    num_new: int  # worked through by this run
    clips: dict[str, int]  # by split
    people: dict[str, int]  # by split
    seconds: float
    rejected: dict[str, int]  # by reason
    notes: tuple[str, ...]  # damaged videos and doubles, a line each


def prepare(
    options: PrepareOptions, tell: Callable[[int, int | None], None] | None = None
) -> Prepared:
    """Turn videos into training data; go on where an earlier run stopped.

    Videos of earlier runs stay in the folder: the outcome depends on all videos that were ever given and
    on the settings, not on order, processes or interruptions.

    Args:
        options: what and how.
        tell: told how many videos are done, and of how many.

    Raises:
        InputError: no licence, no videos, a folder of other settings, nothing that passes the filters.
        ModuleNotFoundError: scenedetect or webdataset is missing (extra `prepare`).

    """
    # these are needed late; whoever lacks them shall not wait for it
    import scenedetect
    import webdataset

    del scenedetect, webdataset
    rights = _rights(options)
    paths = find_videos(options.videos)
    model = find_model(options.score_models) if options.score_models else None
    known_by = file_sha256(model) if model else BY_SOURCE
    settings = options.settings.model_copy(update={"identity_model": known_by})
    records = Records(options.out)
    _claim(options.out, records, settings)
    jobs, doubles = _jobs(options, paths, rights, settings, model)
    waiting = [job for job in jobs if _is_missing(job, records)]
    done = len(jobs) - len(waiting)
    for _ in options.executor.each(prepare_video, waiting):
        done += 1
        if tell:
            tell(done, len(jobs))
    videos = _all_records(records)
    selection = select(videos, settings)
    report = write_report(options.out, selection)
    if not selection.chosen:
        raise InputError(_nothing(selection, report))
    manifest = write_data(options.out, records, selection, settings)
    damaged = [f"{video.source}: {video.damage}" for video in videos if video.damage]
    return Prepared(
        manifest=manifest,
        report=report,
        num_videos=len(videos),
        num_new=len(waiting),
        clips=dict(Counter(one.split for one in selection.chosen)),
        people=dict(Counter(split for split, _ in {(c.split, c.person) for c in selection.chosen})),
        seconds=sum(one.candidate.clip.sec for one in selection.chosen),
        rejected=selection.counts(),
        notes=(*damaged, *doubles),
    )


def find_videos(given: Sequence[Path]) -> list[Path]:
    """Return the named files, and the videos below named folders, without repeats, sorted.

    Raises:
        InputError: a name leads nowhere, or there is no video at all.

    """
    found: set[Path] = set()
    for path in given:
        if path.is_dir():
            found |= {
                p for p in path.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file()
            }
        elif path.is_file():
            found.add(path)
        else:
            raise InputError(f"{path}: want a video or a folder of videos, got no such file")
    if not found:
        names = ", ".join(map(str, given)) or "no path"
        raise InputError(f"want videos ({', '.join(VIDEO_SUFFIXES)}), got none in {names}")
    return sorted(found)


def _rights(options: PrepareOptions) -> Rights:
    licence = (options.licence or "").strip()
    if not licence:
        raise InputError(
            "want the licence of the videos, got none; say what may be done with them, such as "
            "--licence CC-BY-4.0, or --licence 'consent of the people shown, internal use'"
        )
    if options.origin not in ORIGINS:
        raise InputError(f"want an origin of {', '.join(ORIGINS)}, got {options.origin!r}")
    return Rights(licence=licence, origin=options.origin)


def _claim(out: Path, records: Records, settings: Settings) -> None:
    """Make the folder ours, or see that it was made with these settings."""
    text = settings.model_dump_json(indent=1) + "\n"
    if not records.settings.is_file():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(
                f"{out}: want a new folder or one that prepare made, got something else; choose another"
            )
        atomic.write_bytes(records.settings, text.encode())
        return
    try:
        before = json.loads(records.settings.read_bytes())
    except ValueError as error:
        raise InputError(
            f"{records.settings}: want JSON ({error}); choose another folder"
        ) from error
    now = settings.model_dump()
    names = [name for name in sorted({*now, *before}) if now.get(name) != before.get(name)]
    if names:
        odd = "; ".join(f"{n}: there {before.get(n)}, now {now.get(n)}" for n in names)
        raise InputError(
            f"{out} was made with other settings ({odd}); give the same ones, or choose another folder"
        )


def _jobs(
    options: PrepareOptions,
    paths: Sequence[Path],
    rights: Rights,
    settings: Settings,
    model: Path | None,
) -> tuple[list[VideoJob], list[str]]:
    """Return one job for each content, and a line for each file that repeats another's."""
    hashes = dict(options.executor.each(_hashed, [path.absolute() for path in paths]))
    first: dict[str, VideoJob] = {}
    doubles = []
    for path in paths:
        sha256 = hashes[path.absolute()]
        if sha256 in first:
            doubles.append(f"{path}: the same file as {first[sha256].source}; used once")
            continue
        data = options.out.absolute()
        first[sha256] = VideoJob(
            path.absolute(), path.as_posix(), sha256, rights, settings, data, model
        )
    return list(first.values()), doubles


def _hashed(path: Path) -> tuple[Path, str]:
    return path, file_sha256(path)


def _is_missing(job: VideoJob, records: Records) -> bool:
    record = records.read(job.sha256[:16])
    if record is not None and record.rights != job.rights:
        raise InputError(
            f"{job.source}: is in {job.data} with other rights ({_said(record.rights)}; now "
            f"{_said(job.rights)}); give the same ones, or choose another folder"
        )
    return record is None


def _all_records(records: Records) -> list[VideoRecord]:
    videos = []
    for key in records.video_keys():
        if (record := records.read(key)) is None:
            raise InputError(
                f"{records.folder}: the clips of video {key} are damaged; name that video again"
            )
        videos.append(record)
    return videos


def _said(rights: Rights) -> str:
    return f"licence {rights.licence!r}, {rights.origin}"


def _nothing(selection: Selection, report: Path) -> str:
    counts = ", ".join(f"{count} {reason}" for reason, count in selection.counts().items())
    notes = _some([one.note for one in selection.rejected if one.note])
    return (
        f"no shot of {len(selection.videos)} videos passes the filters ({counts}{notes}); {report} has "
        "the figure of each; take other videos, or move a threshold"
    )


def _some(notes: Iterable[str], most: int = 3) -> str:
    return "".join(f"; {note}" for note in list(notes)[:most])
