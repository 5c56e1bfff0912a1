import { randomBytes } from 'node:crypto';

/** Letters and digits that are not mistaken for one another; 32 of them, so that each byte's low five bits choose one. */
const ALPHABET = 'abcdefghijkmnpqrstuvwxyz23456789';

/** A new migration's id: six characters, as it is part of node names, which QEMU limits to 31. */
export function migrationId(): string {
  return Array.from(randomBytes(6), (byte) => ALPHABET[byte % ALPHABET.length]).join('');
}
