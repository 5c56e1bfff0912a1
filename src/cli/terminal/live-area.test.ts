import { expect, test } from 'vitest';
import { HeldClock } from '../testing/held-clock.ts';
import { Screen } from '../testing/screen.ts';
import { LiveArea } from './live-area.ts';

test('lines that stay scroll by above the live ones', () => {
  const screen = new Screen();
  const live = ['a 1', 'b 1'];
  const area = new LiveArea(screen, new HeldClock(), () => live);
  area.print('first');
  expect(screen.shown).toEqual(['first', 'a 1', 'b 1']);
  live[0] = 'a 2';
  area.print('second', 'third');
  expect(screen.shown).toEqual(['first', 'second', 'third', 'a 2', 'b 1']);
  live.pop();
  area.redraw();
  expect(screen.shown).toEqual(['first', 'second', 'third', 'a 2']);
  area.close();
  area.print('last');
  expect(screen.shown).toEqual(['first', 'second', 'third', 'last']);
});

test('ten redraws a second at most, and the last change is drawn', async () => {
  const screen = new Screen();
  const clock = new HeldClock();
  let value = 0;
  const area = new LiveArea(screen, clock, () => [`value ${value}`]);
  area.changed();
  for (let step = 0; step < 1000; step += 1) {
    value += 1;
    area.changed();
    await clock.pass(1);
  }
  expect(screen.redraws).toBeLessThanOrEqual(10);
  expect(screen.redraws).toBeGreaterThanOrEqual(9);
  await clock.pass(100);
  expect(screen.shown).toEqual(['value 1000']);
  area.close();
  area.changed();
  await clock.pass(1000);
  expect(screen.shown).toEqual([]);
});

test('never more lines than the terminal has, and one column stays free', () => {
  const screen = new Screen(40);
  screen.rows = 4;
  const widths: number[] = [];
  const area = new LiveArea(screen, new HeldClock(), (width) => {
    widths.push(width);
    return ['1', '2', '3', '4', '5'];
  });
  area.redraw();
  expect(screen.shown).toEqual(['1', '2', '3']);
  expect(widths).toEqual([39]);
});
