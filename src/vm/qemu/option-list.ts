/**
 * QEMU's option syntax, `a=b,c=d`: a comma inside a value is doubled, a word alone switches something on (`server`) or,
 * with `no` before it, off (`nowait`), and the first value may stand without its key. Where a key comes twice the last
 * one counts.
 * @param firstKey the key of a first value that has none, such as `guest` for `-name`
 */
export function parseOptionList(text: string, firstKey?: string): ReadonlyMap<string, string> {
  const options = new Map<string, string>();
  for (const [index, part] of splitAtCommas(text).entries()) {
    const at = part.indexOf('=');
    if (at >= 0) options.set(part.slice(0, at), part.slice(at + 1));
    else if (index === 0 && firstKey !== undefined) options.set(firstKey, part);
    else if (part.startsWith('no')) options.set(part.slice(2), 'off');
    else if (part !== '') options.set(part, 'on');
  }
  return options;
}

/** Cuts at single commas and halves the doubled ones: of three in a row the first two are one comma of the value. */
function splitAtCommas(text: string): string[] {
  const parts: string[] = [];
  let part = '';
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] !== ',') part += text[at];
    else if (text[at + 1] === ',') {
      part += ',';
      at += 1;
    } else {
      parts.push(part);
      part = '';
    }
  }
  return [...parts, part];
}
