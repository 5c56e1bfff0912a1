import type { CopyControl } from '../image/index.ts';

/** Why work in progress was stopped by the user. It is a reason of abort signals, not a failure. */
export class Stopped {
  readonly why: 'abort' | 'leave';

  constructor(why: 'abort' | 'leave') {
    this.why = why;
  }
}

/** What was changed at the handles. */
export type ControlChange =
  | { readonly type: 'paused' }
  | { readonly type: 'resumed' }
  | { readonly type: 'speed'; readonly bytesPerSecond: number };

/** The handles of a running migration: what the terminal and the control socket can pull. */
export class RunControl {
  readonly copy: CopyControl;
  readonly #stop = new AbortController();
  #paused = false;
  #wake: (() => void)[] = [];
  #stopped: Stopped['why'] | undefined;

  /** Told of each change, whoever made it. */
  onChange: (change: ControlChange) => void = () => undefined;

  constructor(copy: CopyControl) {
    this.copy = copy;
  }

  /** Aborted when the user wants to stop. Not given to what must not be interrupted: the swap and the way back. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** `abort`: undo everything; `leave`: stop driving, the disks stay mirrored. Undefined: go on. */
  get stopped(): Stopped['why'] | undefined {
    return this.#stopped;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** The disks go back. Takes effect at once, except during the swap, after which there is no way back. */
  abort(): void {
    this.#stopWith('abort');
  }

  /** Stop driving: the guest goes on, with its disks mirrored, and another process can go on from here. */
  leave(): void {
    this.#stopWith('leave');
  }

  /** Copying and verifying stand still, and no further step is begun; the guest goes on, mirrored. */
  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.copy.pause();
    this.onChange({ type: 'paused' });
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.copy.resume();
    for (const wake of this.#wake.splice(0)) wake();
    this.onChange({ type: 'resumed' });
  }

  /** Bytes per second for copying and verifying together; 0: no limit. */
  setSpeed(bytesPerSecond: number): void {
    this.copy.setSpeed(bytesPerSecond);
    this.onChange({ type: 'speed', bytesPerSecond });
  }

  /** Resolves at once when not paused, else when resumed or stopped. */
  async unpaused(): Promise<void> {
    while (this.#paused && this.#stopped === undefined) {
      await new Promise<void>((resolve) => void this.#wake.push(resolve));
    }
  }

  #stopWith(why: Stopped['why']): void {
    if (this.#stopped === 'abort') return;
    this.#stopped = why;
    this.#stop.abort(new Stopped(why));
    for (const wake of this.#wake.splice(0)) wake();
  }
}
