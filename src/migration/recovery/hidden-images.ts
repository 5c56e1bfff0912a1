import { basename, dirname, join } from 'node:path';
import { ferryError } from '../../base/index.ts';
import type { Host } from '../host.ts';
import type { MigrationJournal } from '../migration-journal.ts';
import type { MigrationPlan } from '../plan/plan.ts';

/** The hiding is written down under this name, among the steps. */
const HIDE = 'hide-offline';

/** The names of the active images while they are hidden, by the names that the VM's start command leads to. */
export function hiddenNames({ id, disks }: MigrationPlan): ReadonlyMap<string, string> {
  return new Map(
    disks.map(({ active: { realPath } }, index) => [
      realPath,
      join(dirname(realPath), `blockferry-${id}-${index}.merging`),
    ]),
  );
}

/**
 * The active images of the source while recovery merges into them: under names that no start command has, beside the old ones.
 * An image that is half merged must not be started from, and only the lack of its name keeps everybody from that, also when
 * recovery itself was killed. Whoever recovers again finds them by these names.
 */
export class HiddenImages {
  readonly #host: Host;
  readonly #journal: MigrationJournal;
  readonly #id: string;
  readonly #names: ReadonlyMap<string, string>;

  constructor({ host, journal, plan }: { host: Host; journal: MigrationJournal; plan: MigrationPlan }) {
    this.#host = host;
    this.#journal = journal;
    this.#id = plan.id;
    this.#names = hiddenNames(plan);
  }

  /** The name that an image has while it is hidden. */
  hiddenNameOf(path: string): string {
    return this.#names.get(path) ?? path;
  }

  /** Whether the image is there, by either name. */
  async exists(path: string): Promise<boolean> {
    const found = [path, this.hiddenNameOf(path)].map((name) => this.#host.fileMark(name));
    return (await Promise.all(found)).some((mark) => mark !== undefined);
  }

  /** May be called again on what an interrupted attempt left. */
  async hide(): Promise<void> {
    this.#journal.intendStep(this.#id, HIDE);
    for (const [path, hidden] of this.#names) {
      if (await this.#isHidden(path, hidden)) continue;
      await this.#host.renameFile(path, hidden);
    }
  }

  /** Gives the images their names back, where they have not got them. */
  async show(): Promise<void> {
    for (const [path, hidden] of this.#names) {
      if (await this.#isHidden(path, hidden)) await this.#host.renameFile(hidden, path);
    }
  }

  /** The name in the header of an overlay on a hidden image. */
  headerNameOf(path: string): string {
    return basename(this.hiddenNameOf(path));
  }

  async #isHidden(path: string, hidden: string): Promise<boolean> {
    if ((await this.#host.fileMark(hidden)) === undefined) return false;
    // Renaming would take the other file away without a word.
    if ((await this.#host.fileMark(path)) !== undefined) throw ferryError('IMAGE_HIDDEN', { path, hidden });
    return true;
  }
}
