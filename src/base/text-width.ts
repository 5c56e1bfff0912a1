export const graphemes: Intl.Segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });
const ZERO_WIDTH = /^[\p{Mn}\p{Me}\p{Cf}]$/u;
const EMOJI = /^\p{Emoji_Presentation}$/u;
// Unicode's East Asian Width W and F, in ranges as coarse as a column count needs.
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1f64f}\u{1f900}-\u{1f9ff}\u{20000}-\u{3fffd}]$/u;

/** Columns of one grapheme. */
export function graphemeWidth(grapheme: string): number {
  let width = 0;
  for (const point of grapheme) {
    if (ZERO_WIDTH.test(point)) continue;
    width = Math.max(width, WIDE.test(point) || EMOJI.test(point) ? 2 : 1);
  }
  return width;
}

/** How many columns of a terminal a text takes. It must hold neither control characters nor styles. */
export function textWidth(text: string): number {
  let width = 0;
  for (const { segment } of graphemes.segment(text)) width += graphemeWidth(segment);
  return width;
}
