/** Splits at commas as virsh does: `,,` is a comma that belongs to the part, and a comma at the end makes an empty part. */
export function splitCommas(text: string): readonly string[] {
  const parts: string[] = [];
  let part = '';
  for (let place = 0; place < text.length; place += 1) {
    if (text[place] !== ',') part += text[place];
    else if (text[place + 1] === ',') {
      part += ',';
      place += 1;
    } else {
      parts.push(part);
      part = '';
    }
  }
  return [...parts, part];
}

/** `key=value` of a known key, once each; undefined for anything else. */
export function readKeys<K extends string>(
  parts: readonly string[],
  keys: readonly K[],
): { readonly [P in K]?: string } | undefined {
  const found: { [P in K]?: string } = {};
  for (const part of parts) {
    const key = keys.find((each) => part.startsWith(`${each}=`) && found[each] === undefined);
    if (key === undefined) return undefined;
    found[key] = part.slice(key.length + 1);
  }
  return found;
}
