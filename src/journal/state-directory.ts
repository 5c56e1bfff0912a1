import { closeSync, constants, fsyncSync, mkdirSync, openSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { errnoOf, ferryError, messageOf } from '../base/index.ts';

/**
 * Where the journal and the control sockets are: the option, else `BLOCKFERRY_STATE_DIR`, else `/var/lib/blockferry` for
 * root, else `$XDG_STATE_HOME/blockferry` or `~/.local/state/blockferry`. An absolute path; nothing is created.
 */
export function stateDirectory(option?: string): string {
  const chosen = option ?? process.env['BLOCKFERRY_STATE_DIR'];
  if (chosen) return resolve(chosen);
  if (process.getuid?.() === 0) return '/var/lib/blockferry';
  // The XDG specification says that a relative path there is to be ignored.
  const xdg = process.env['XDG_STATE_HOME'];
  return join(xdg?.startsWith('/') ? xdg : join(homedir(), '.local', 'state'), 'blockferry');
}

/**
 * Creates a folder that only its owner can enter, durably, with the folders above it; one that exists is left as it is
 * when nobody else can write to it.
 * @throws FerryError JOURNAL_UNSAFE, JOURNAL_UNAVAILABLE
 */
export function makePrivateDirectory(directory: string): void {
  try {
    const first = mkdirSync(directory, { recursive: true, mode: 0o700 });
    // A folder is on disk when the folder that names it is.
    if (first !== undefined) for (let at = directory; at.length >= first.length; at = dirname(at)) sync(dirname(at));
  } catch (error) {
    throw ferryError('JOURNAL_UNAVAILABLE', { path: directory, reason: messageOf(error) }, { cause: error });
  }
  checkPrivateDirectory(directory);
}

/**
 * Refuses a folder in which somebody else could replace the journal.
 * @throws FerryError JOURNAL_UNSAFE, JOURNAL_UNAVAILABLE
 */
export function checkPrivateDirectory(directory: string): void {
  const stat = statSync(directory, { throwIfNoEntry: false });
  if (!stat?.isDirectory()) {
    throw ferryError('JOURNAL_UNAVAILABLE', { path: directory, reason: 'it is not a directory' });
  }
  const mode = (stat.mode & 0o7777).toString(8);
  if ((stat.mode & 0o022) !== 0) {
    throw ferryError('JOURNAL_UNSAFE', { directory, reason: `others can write to it (mode ${mode})` });
  }
  const me = process.getuid?.();
  if (me !== undefined && me !== 0 && stat.uid !== me && stat.uid !== 0) {
    throw ferryError('JOURNAL_UNSAFE', { directory, reason: `it belongs to user ${stat.uid}` });
  }
}

/**
 * Creates an empty file that only its owner can read, unless it exists. SQLite gives its write-ahead log the same mode.
 *
 * Never opens a file that exists: closing any descriptor of a file drops all POSIX locks that this process has on it,
 * those of an SQLite connection in this very process among them.
 */
export function createPrivateFile(path: string): void {
  try {
    closeSync(openSync(path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600));
    sync(dirname(path));
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
}

function sync(directory: string): void {
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
