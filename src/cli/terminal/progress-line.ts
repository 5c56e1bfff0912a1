import { formatDuration, formatRate, formatSize } from '../../base/index.ts';
import type { DiskRow } from './disk-progress.ts';
import { textWidth } from '../../base/text-width.ts';
import { cutText, type Paint, padText, printable } from './text.ts';

const BAR = { least: 8, most: 30 } as const;
const NAME_MOST = 20;

/** Whole percent, never 100 before it is all there. */
export function percent({ done = 0, total = 0 }: Pick<DiskRow, 'done' | 'total'>): number {
  if (total === 0) return 0;
  return done >= total ? 100 : Math.min(99, Math.floor((done * 100) / total));
}

/** Bytes, percent, rate and time left in words; empty where nothing is measured. */
export function progressText(row: DiskRow): string {
  const { done, total, rate } = row;
  if (done === undefined || total === undefined || total === 0) return '';
  const parts = [`${formatSize(done)} of ${formatSize(total)}`, `${percent(row)} %`];
  if (rate !== undefined) {
    parts.push(formatRate(rate));
    if (done < total) parts.push(`${formatDuration(Math.max(1000, ((total - done) * 1000) / rate))} left`);
  }
  return parts.join(', ');
}

/** One line per disk: name, phase, bar where there is room, and how far it is. */
export function progressLines(rows: readonly DiskRow[], width: number, paint: Paint): string[] {
  const names = rows.map(({ disk }) => cutText(printable(disk), NAME_MOST));
  const nameWidth = Math.max(0, ...names.map(textWidth));
  const phaseWidth = Math.max(0, ...rows.map(({ phase }) => textWidth(phase)));
  const heads = rows.map(
    ({ phase }, index) => `${padText(names[index] ?? '', nameWidth)}  ${padText(phase, phaseWidth)}`,
  );
  const texts = rows.map(progressText);
  // One width for all bars: they stand below each other. 6: the gaps and the brackets.
  const room = width - Math.max(...heads.map(textWidth)) - Math.max(...texts.map(textWidth)) - 6;
  return rows.map((row, index) => {
    const head = heads[index] ?? '';
    const text = texts[index] ?? '';
    if (text === '') return cutText(head.trimEnd(), width);
    if (room < BAR.least) return cutText(`${head}  ${text}`, width);
    return `${head}  ${bar(row, Math.min(BAR.most, room), paint)}  ${text}`;
  });
}

function bar(row: DiskRow, width: number, paint: Paint): string {
  const { done = 0, total = 1 } = row;
  const full = Math.min(width, Math.floor((done * width) / total));
  return `[${paint('green', '#'.repeat(full))}${'-'.repeat(width - full)}]`;
}
