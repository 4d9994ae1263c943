"""What a restore leaves in a data directory, and how it gets into its place.

    restore.new/   a draft: a data directory that is being written, or was when a process ended
    restored/      the same, whole and synced: it has its name by one rename

With that rename the restore is done. Whoever then opens the directory for writing puts what is in
`restored` into its place, where an empty store lies, file by file; killed in the middle of that,
the next one goes on with it. A draft that is left is removed. So there is the empty store, or the
whole one, whenever a process ends or the power goes.
What is left to others: writing a draft, and that the store was empty (`everlog.transfer`).
"""

from contextlib import ExitStack
from typing import Final

from everlog.domain.errors import DataDirectoryError
from everlog.storage.log.copies import PLACE_FILE
from everlog.storage.log.directory import FORMAT_FILE, LOCK_FILE
from everlog.storage.log.disk import Disk, Folder, ForeignFileError, names_in, open_folder

DRAFT_FOLDER: Final = "restore.new"
RESTORED_FOLDER: Final = "restored"

# The directory itself has these.
_OWN_NAMES: Final = frozenset({FORMAT_FILE, LOCK_FILE, PLACE_FILE})


def finish_restored(directory: Folder, disk: Disk) -> None:
    """Put what a restore has made into its place, and remove a draft; the lock is held."""
    names = names_in(directory)
    if RESTORED_FOLDER in names:
        with ExitStack() as resources:
            restored = open_folder(disk, directory, RESTORED_FOLDER, resources)
            # What is still there has not been moved; in its place lies what the empty store had.
            for name in sorted({*names_in(restored)} - _OWN_NAMES):
                remove(directory, name, disk)
                disk.move(restored, name, directory)
            # Before the rest of it goes, which says that there is something to be done.
            disk.sync_directory(directory)
        remove(directory, RESTORED_FOLDER, disk)
        disk.sync_directory(directory)
    if DRAFT_FOLDER in names:
        remove_draft(directory, disk)


def remove_draft(directory: Folder, disk: Disk) -> None:
    """Remove a draft, if there is one."""
    remove(directory, DRAFT_FOLDER, disk)
    disk.sync_directory(directory)


def accept_draft(directory: Folder, disk: Disk) -> None:
    """Let a draft that is whole and synced be what was restored: the one step that counts."""
    disk.rename(directory, DRAFT_FOLDER, RESTORED_FOLDER)
    disk.sync_directory(directory)


def check_is_in_place(directory: Folder) -> None:
    """Check that nothing of a restore waits to be put into its place, for who only reads.

    Raises:
        DataDirectoryError: Something does.
    """
    if RESTORED_FOLDER in names_in(directory):
        message = (
            f"{directory.path} holds a store that was restored and is not in its place yet: start "
            "a server on it once, which puts it there"
        )
        raise DataDirectoryError(message)


def remove(folder: Folder, name: str, disk: Disk) -> None:
    """Remove a file, or a folder with all that is in it; what is not there need not be removed."""
    with ExitStack() as resources:
        try:
            inner = open_folder(disk, folder, name, resources)
        except FileNotFoundError:
            return
        except ForeignFileError:
            # No folder, then; what a link points to is not touched.
            disk.remove_file(folder, name)
            return
        for child in sorted(names_in(inner)):
            remove(inner, child, disk)
    disk.remove_directory(folder, name)
