import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CopyControl } from '../image/index.ts';
import { type ControlChange, RunControl, Stopped } from './run-control.ts';

const watched = (): { control: RunControl; changes: ControlChange['type'][] } => {
  const control = new RunControl(new CopyControl({ speed: 100 }));
  const changes: ControlChange['type'][] = [];
  control.onChange = ({ type }) => void changes.push(type);
  return { control, changes };
};

describe('the handles of a migration', () => {
  test('a pause holds the next step and the copies, until it is resumed', async () => {
    const { control, changes } = watched();
    await control.unpaused();
    control.pause();
    control.pause();
    expect(control.copy.paused).toBe(true);
    let went = false;
    const waiting = control.unpaused().then(() => (went = true));
    await Promise.resolve();
    expect(went).toBe(false);
    control.resume();
    await waiting;
    control.resume();
    expect(control.copy.paused).toBe(false);
    expect(changes).toEqual(['paused', 'resumed']);
  });

  test('an abort does not wait for the end of a pause', async () => {
    const { control } = watched();
    control.pause();
    const waiting = control.unpaused();
    control.abort();
    await waiting;
    expect(control.signal.reason).toEqual(new Stopped('abort'));
  });

  test('an abort outweighs that it is left, before and after', () => {
    for (const order of [
      ['abort', 'leave'],
      ['leave', 'abort'],
    ] as const) {
      const { control } = watched();
      for (const what of order) control[what]();
      expect(control.stopped).toBe('abort');
    }
  });

  test('the speed reaches the copies, and is told', () => {
    const { control, changes } = watched();
    control.setSpeed(5000);
    expect(control.copy.speed).toBe(5000);
    expect(changes).toEqual(['speed']);
    expect(() => control.setSpeed(Number.NaN)).toThrow(RangeError);
  });

  test('whatever is pulled, paused is what the last of pause and resume says, and the signal tells a stop', async () => {
    const pulls = fc.array(fc.constantFrom('pause', 'resume', 'abort', 'leave'));
    await fc.assert(
      fc.asyncProperty(pulls, async (order) => {
        const { control } = watched();
        for (const pull of order) control[pull]();
        const last = order.findLast((pull) => pull === 'pause' || pull === 'resume');
        expect(control.paused).toBe(last === 'pause');
        expect(control.copy.paused).toBe(control.paused);
        const stopped = order.some((pull) => pull === 'abort' || pull === 'leave');
        expect(control.signal.aborted).toBe(stopped);
        if (!control.paused || stopped) await control.unpaused();
      }),
    );
  });
});
