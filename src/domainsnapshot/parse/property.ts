import { property, type XmlElement } from '../xml/tree.ts';
import { isOneOf } from '../model/values.ts';
import { xmlFault } from './fault.ts';
import { unsigned32 } from './number.ts';

/*
 * Typed attributes, as libvirt's `virXMLProp…` functions read them: by local name, and with two errors that are the same
 * for every attribute.
 */

function invalid(element: XmlElement, name: string, value: string, more = ''): Error {
  return xmlFault(`Invalid value for attribute '${name}' in element '${element.name}': '${value}'.${more}`, element);
}

/** An attribute that must be there. */
export function requiredProperty(element: XmlElement, name: string): string {
  const value = property(element, name);
  if (value === undefined) throw xmlFault(`Missing required attribute '${name}' in element '${element.name}'`, element);
  return value;
}

/** One of a list of words, or undefined when the attribute is absent. */
export function wordProperty<T extends string>(element: XmlElement, name: string, words: readonly T[]): T | undefined {
  const value = property(element, name);
  if (value === undefined || isOneOf(words, value)) return value;
  throw invalid(element, name, value);
}

/** `yes` or `no`, or undefined when the attribute is absent. */
export function booleanProperty(element: XmlElement, name: string): boolean | undefined {
  const word = wordProperty(element, name, ['yes', 'no']);
  return word === undefined ? undefined : word === 'yes';
}

/** An unsigned 32 bit number, or undefined when the attribute is absent. */
export function unsignedProperty(element: XmlElement, name: string, base: 0 | 10 = 10): number | undefined {
  const value = property(element, name);
  if (value === undefined) return undefined;
  const number = unsigned32(value, base);
  if (number === undefined) throw invalid(element, name, value, ' Expected non-negative integer value');
  return number;
}

/** As `invalid`, for a signed number that is only checked. */
export function checkIntegerProperty(element: XmlElement, name: string, read: (text: string) => unknown): void {
  const value = property(element, name);
  if (value !== undefined && read(value) === undefined) {
    throw invalid(element, name, value, ' Expected integer value');
  }
}
