import { DomainSnapshotError } from '../errors.ts';
import { unitFactor, unsigned64 } from '../parse/number.ts';
import { childNamed, property, textOf, type XmlElement, xpathAttribute, xpathString } from '../xml/tree.ts';

/** `<memory>` of a domain in KiB, its usual unit; undefined when it does not say. */
function memoryOf(domain: XmlElement): bigint | undefined {
  const element = childNamed(domain, 'memory');
  const value = element && unsigned64(textOf(element));
  const factor = element && unitFactor(xpathAttribute(element, 'unit') ?? 'KiB');
  return value === undefined || factor === undefined ? undefined : (value * factor + 1023n) / 1024n;
}

/**
 * Whether a domain may stand in for another: the first of libvirt's many checks, which need no knowledge of devices
 * (type, uuid, name, memory).
 * @throws DomainSnapshotError VIR_ERR_CONFIG_UNSUPPORTED
 */
export function checkSameDomain(source: XmlElement, target: XmlElement): void {
  const facts: readonly (readonly [string, (domain: XmlElement) => string | bigint | undefined, string])[] = [
    ['virt type', (domain) => property(domain, 'type'), ''],
    ['uuid', (domain) => xpathString(domain, 'uuid'), ''],
    ['name', (domain) => xpathString(domain, 'name'), "'"],
    ['max memory', memoryOf, ''],
  ];
  for (const [what, read, quote] of facts) {
    const before = read(source);
    const after = read(target);
    if (before === after) continue;
    throw new DomainSnapshotError(
      'VIR_ERR_CONFIG_UNSUPPORTED',
      `Target domain ${what} ${quote}${after}${quote} does not match source ${quote}${before}${quote}`,
    );
  }
}
