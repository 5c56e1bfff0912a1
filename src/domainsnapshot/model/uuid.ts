/** Sixteen pairs of digits, with any hyphens and blanks before each pair and white space around (`virUUIDParse`). */
const UUID = /^[ \t\n\v\f\r]*(?:[- ]*[0-9a-fA-F]{2}){16}[ \t\n\v\f\r]*$/;

/** A uuid as libvirt writes it, or undefined for what it does not take. */
export function normalUuid(text: string): string | undefined {
  if (!UUID.test(text)) return undefined;
  const digits = text.toLowerCase().replaceAll(/[^0-9a-f]/g, '');
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
