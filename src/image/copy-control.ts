/** What one of the copies under a control may do now. */
export interface CopyLimits {
  /** Its share of the speed; 0 for no limit. */
  readonly bytesPerSecond: number;
  readonly paused: boolean;
}

/** The place of one copy under a control; disposing it gives its share to the others. */
export interface CopyShare extends Disposable {
  readonly limits: CopyLimits;
}

/**
 * Steers everything that it was given to, while it runs: one speed in bytes per second that all copies and verifications
 * under it share evenly, and a pause. Nothing here waits: the work follows within a fraction of a second.
 */
export class CopyControl {
  #speed: number;
  #paused: boolean;
  readonly #onChanges = new Set<() => void>();

  constructor(start: { readonly speed?: number; readonly paused?: boolean } = {}) {
    this.#speed = validSpeed(start.speed ?? 0);
    this.#paused = start.paused ?? false;
  }

  /** Bytes per second for all together; 0 for no limit. */
  get speed(): number {
    return this.#speed;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** @throws RangeError for a speed that is negative or not a number */
  setSpeed(bytesPerSecond: number): void {
    this.#speed = validSpeed(bytesPerSecond);
    this.#tell();
  }

  pause(): void {
    this.#paused = true;
    this.#tell();
  }

  resume(): void {
    this.#paused = false;
    this.#tell();
  }

  /** Takes a share for one copy. `onChange` is called whenever its limits may have changed since. */
  join(onChange: () => void): CopyShare {
    // A function of its own for each member: a Set would take two equal ones for one.
    const member = (): void => onChange();
    const others = [...this.#onChanges];
    this.#onChanges.add(member);
    for (const onChange of others) onChange();
    const limits = (): CopyLimits => this.#limits();
    return {
      get limits() {
        return limits();
      },
      [Symbol.dispose]: () => {
        if (this.#onChanges.delete(member)) this.#tell();
      },
    };
  }

  #limits(): CopyLimits {
    const share = Math.floor(this.#speed / Math.max(1, this.#onChanges.size));
    return { bytesPerSecond: this.#speed === 0 ? 0 : Math.max(1, share), paused: this.#paused };
  }

  #tell(): void {
    for (const onChange of this.#onChanges) onChange();
  }
}

function validSpeed(bytesPerSecond: number): number {
  if (!(bytesPerSecond >= 0 && bytesPerSecond <= Number.MAX_SAFE_INTEGER)) {
    throw new RangeError(`a speed of ${bytesPerSecond} bytes per second`);
  }
  return Math.ceil(bytesPerSecond);
}
