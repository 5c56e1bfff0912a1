import type { Random } from '../torture/random.ts';
import type { GuestWrite, SimQemu } from './sim-qemu.ts';

/** How many blocks a disk has. */
export const BLOCKS = 4;
/** How often the guest writes in one schedule. */
export const MOST_WRITES = 80;

/** The guest: what it writes, and what it was told is done. Every write counts up, so the newest is the largest. */
export class Guest {
  /** By disk, the newest write to each block that was acknowledged. */
  readonly #known: Map<string, number[]> = new Map();
  #written = 0;
  readonly #rate: number;
  readonly #skip: ReadonlySet<number>;

  /**
   * @param rate how likely it is that it writes at a moment at which it could
   * @param skip numbers of writes that are not made
   */
  constructor(rate: number, skip: ReadonlySet<number>) {
    this.#rate = rate;
    this.#skip = skip;
  }

  acknowledged({ disk, block, value }: GuestWrite): void {
    this.least(disk)[block] = value;
  }

  /** The least that each block of a disk has to hold. */
  least(disk: string): number[] {
    const known = this.#known.get(disk) ?? Array.from({ length: BLOCKS }, () => 0);
    this.#known.set(disk, known);
    return known;
  }

  /** What the guest, or QEMU for it, could do next. */
  choices(qemu: SimQemu, random: Random): readonly (() => void)[] {
    const choices: (() => void)[] = [...qemu.underWay].map((request) => () => qemu.finish(request));
    if (qemu.status !== 'running' || this.#written >= MOST_WRITES || !random.chance(this.#rate)) return choices;
    for (const disk of qemu.disks.keys()) {
      if (!qemu.isHeld(disk)) choices.push(() => this.#write(qemu, disk));
    }
    return choices;
  }

  #write(qemu: SimQemu, disk: string): void {
    this.#written += 1;
    if (this.#skip.has(this.#written)) return;
    const block = (this.#written * 7) % BLOCKS;
    // A guest that has two writes to one block under way does not know which of them is the newest.
    if ([...qemu.underWay].some((other) => other.disk === disk && other.block === block)) return;
    qemu.take({ disk, block, value: this.#written });
  }
}
