import { formatDuration, formatRate } from '../../base/index.ts';
import type { MigrationEvent, StepName } from '../../migration/index.ts';
import { count, type Paint, printable } from './text.ts';

/** What each step does, for a person who has not read the design. */
const STEP_TEXT: { readonly [S in StepName]: string } = {
  prepare: 'empty overlays on both storages',
  snapshot: 'all disks at one instant; what is below no longer changes',
  mirror: 'each write goes to both storages',
  copy: 'the images below the snapshot',
  verify: 'the copies, read back and compared',
  attach: 'the mirrors stand on the copies',
  pivot: 'the guest is on the target',
  fold: 'the chains are as deep as they were',
  clean: 'the old chain closed, the source tidied up',
};

/** The event as one line for a person; undefined for what the final summary says, or what would only be noise. */
export function eventText(event: MigrationEvent, paint: Paint): string | undefined {
  switch (event.type) {
    case 'started': {
      return undefined;
    }
    case 'taken-over': {
      return `this process (${event.pid}) drives the migration now`;
    }
    case 'freed': {
      return paint('yellow', `the guest's I/O was held since somebody died; it goes on, at the ${event.side}`);
    }
    case 'step': {
      return stepText(event, paint);
    }
    case 'paused': {
      return paint('yellow', 'paused: copying stands still, and the guest goes on, mirrored');
    }
    case 'resumed': {
      return 'going on';
    }
    case 'speed': {
      return event.bytesPerSecond === 0
        ? 'speed: no limit'
        : `speed: at most ${formatRate(event.bytesPerSecond)} from now on`;
    }
    case 'held': {
      if (event.kind === 'start') return `the guest stood still for ${event.ms.toFixed(1)} ms while jobs were started`;
      // The figure itself is a line of the summary.
      return event.kind === 'pivot' ? `swapped: ${count(event.disks, 'disk')} at one instant` : undefined;
    }
    case 'frozen': {
      return `the guest's file systems were frozen for ${event.ms.toFixed(1)} ms`;
    }
    case 'warning': {
      return paint('yellow', `warning: ${printable(event.message)}`);
    }
    case 'failed': {
      return paint('red', `${event.step} failed: ${printable(event.message)}`);
    }
    case 'finished': {
      return undefined;
    }
    default: {
      // An event that a newer blockferry wrote into the journal.
      return undefined;
    }
  }
}

function stepText(event: MigrationEvent & { readonly type: 'step' }, paint: Paint): string | undefined {
  const name = event.step.padEnd(8);
  switch (event.state) {
    case 'done': {
      const ms = event.ms === undefined ? '' : `  (${formatDuration(event.ms)})`;
      return `${paint('green', 'done')}    ${name}  ${STEP_TEXT[event.step]}${ms}`;
    }
    case 'undone': {
      return `${paint('yellow', 'undone')}  ${name}`;
    }
    default: {
      return undefined;
    }
  }
}
