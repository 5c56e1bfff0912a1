import { styleText } from 'node:util';
import { graphemes, graphemeWidth, textWidth } from '../../base/text-width.ts';

/** How a piece of text is to look, where colours are wanted. */
export type Style = Parameters<typeof styleText>[0];

/** Styles a text, or leaves it as it is where colours are not wanted. */
export type Paint = (style: Style, text: string) => string;

export function paint(color: boolean): Paint {
  return (style, text) => (color ? styleText(style, text, { validateStream: false }) : text);
}

/** Fills up with spaces to so many columns. */
export function padText(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const fill = ' '.repeat(Math.max(0, width - textWidth(text)));
  return align === 'left' ? text + fill : fill + text;
}

/** Cuts a text off at so many columns; the cut is marked with `…`. */
export function cutText(text: string, width: number): string {
  if (textWidth(text) <= width) return text;
  let kept = '';
  let used = 0;
  for (const { segment } of graphemes.segment(text)) {
    used += graphemeWidth(segment);
    if (used > width - 1) break;
    kept += segment;
  }
  return width < 1 ? '' : `${kept}…`;
}

/**
 * Makes control characters visible. Names of VMs, files and disks come from outside: a newline in one would forge a
 * line, and an escape sequence would command the terminal.
 */
export function printable(text: string): string {
  // Cc: C0 and C1 controls; Zl, Zp: line and paragraph separators; the bidi controls reorder what stands around them.
  return text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`;
  });
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}

/** A wall-clock time (milliseconds since 1970) in local time: `2026-11-23 01:39:12`. */
export function formatTime(at: number): string {
  const date = new Date(at);
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')}`;
}

/** `1 disk`, `2 disks`. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
