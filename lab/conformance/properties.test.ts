import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  alignDisks,
  DomainSnapshotError,
  formatSnapshot,
  parseSnapshot,
  type ParseFlag,
} from '../../src/domainsnapshot/index.ts';
import { arbitraryDocument } from './arbitrary-document.ts';
import { arbitrarySnapshot } from './arbitrary-snapshot.ts';

// Not INTERNAL: with it libvirt does not read labelskip back.
const REDEFINE = ['REDEFINE', 'TYPED_MIRROR'] as const;

describe('properties', () => {
  test('parse(format(x)) is x, and format(parse(format(x))) is format(x)', () => {
    fc.assert(
      fc.property(arbitrarySnapshot, (snapshot) => {
        const text = formatSnapshot(snapshot, { flags: ['SECURE'] });
        const parsed = parseSnapshot(text, { flags: REDEFINE });
        expect(parsed).toEqual({ snapshot, current: false });
        expect(formatSnapshot(parsed.snapshot, { flags: ['SECURE'] })).toBe(text);
      }),
      { numRuns: 3000 },
    );
  });

  test('10,000 documents of all sorts give a result that can be written, or one of our errors', () => {
    const flagSets: readonly (readonly ParseFlag[])[] = [
      [],
      ['MIRROR'],
      ['REDEFINE', 'TYPED_MIRROR'],
      ['OFFLINE'],
      ['REDEFINE', 'INTERNAL'],
    ];
    const seen = { results: 0, errors: 0 };
    fc.assert(
      fc.property(
        arbitraryDocument(),
        fc.constantFrom(...flagSets),
        fc.constantFrom('modern' as const, 'seed-2012' as const),
        fc.constantFrom('refuse' as const, 'internal' as const),
        (document, flags, profile, doctype) => {
          try {
            const { snapshot } = parseSnapshot(document, { flags, profile, doctype });
            expect(formatSnapshot(snapshot, { profile })).toMatch(/^<domainsnapshot>\n/);
            seen.results += 1;
          } catch (error) {
            if (!(error instanceof DomainSnapshotError)) throw error;
            seen.errors += 1;
          }
        },
      ),
      { numRuns: 10_000 },
    );
    expect(seen.results).toBeGreaterThan(500);
    expect(seen.errors).toBeGreaterThan(500);
  });

  test('aligning an aligned snapshot again changes nothing', () => {
    fc.assert(
      fc.property(
        arbitrarySnapshot,
        fc.constantFrom('no', 'internal', 'external', 'manual'),
        (snapshot, defaultLocation) => {
          const options = { defaultLocation, files: { isRegularFile: () => true } } as const;
          const asked = { ...snapshot, disks: [] };
          try {
            const once = alignDisks(asked, options);
            expect(alignDisks(once, options)).toEqual(once);
          } catch (error) {
            if (!(error instanceof DomainSnapshotError)) throw error;
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});
