import { textWidth } from '../../base/text-width.ts';

/** Control characters and what is no character, as virsh shows them in tables: `\x` and the byte. */
function visible(cell: string): string {
  return cell.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]/gu, (character) =>
    [...Buffer.from(character, 'utf8')].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join(''),
  );
}

/**
 * A table as virsh prints it: a header, a line, the rows. Cells begin with one blank, and each but the last is filled up to
 * the widest of its column and two blanks more. Columns of the terminal count.
 */
export function virshTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [header, ...rows].map((cells) => cells.map(visible));
  const widths = header.map((_, column) => Math.max(...lines.map((cells) => textWidth(cells[column] ?? ''))));
  const last = header.length - 1;
  const [head = '', ...body] = lines.map((cells) =>
    cells
      .map((cell, column) => {
        const fill = column === last ? 0 : (widths[column] ?? 0) + 2 - textWidth(cell);
        return ` ${cell}${' '.repeat(fill)}`;
      })
      .join(''),
  );
  const rule = '-'.repeat(widths.reduce((sum, width) => sum + width + 3, 0));
  return [head, rule, ...body].map((line) => `${line}\n`).join('');
}
