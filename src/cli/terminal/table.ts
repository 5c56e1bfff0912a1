import { textWidth } from '../../base/text-width.ts';
import { cutText, type Paint, padText, printable } from './text.ts';

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

const GAP = 2;

/** The columns that a table takes when nothing is cut. */
export function tableWidth(columns: readonly Column[], rows: readonly (readonly string[])[]): number {
  return widths(columns, rows).reduce((sum, width) => sum + width, GAP * (columns.length - 1));
}

function widths(columns: readonly Column[], rows: readonly (readonly string[])[]): number[] {
  return columns.map(({ title }, index) =>
    Math.max(textWidth(title), ...rows.map((row) => textWidth(printable(row[index] ?? '')))),
  );
}

/**
 * A table with a title line. Rows that are wider than the terminal are cut at their end, so the last column is the one
 * that can be done without.
 * @param width columns of the terminal; infinite where it is none
 */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
  paint: Paint,
): string[] {
  const columnWidths = widths(columns, rows);
  const line = (cells: readonly string[]): string => {
    const padded = cells.map((cell, index) =>
      padText(printable(cell), columnWidths[index] ?? 0, columns[index]?.align ?? 'left'),
    );
    return cutText(padded.join(' '.repeat(GAP)).trimEnd(), width);
  };
  return [paint('bold', line(columns.map(({ title }) => title))), ...rows.map(line)];
}
