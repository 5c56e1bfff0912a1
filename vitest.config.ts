import { defineConfig } from 'vitest/config';

/**
 * Two suites. `unit` needs nothing but Node. `integ` runs real QEMU, and its files run two at a time: one leaves half of two
 * cores idle, as a test waits for states, never for times. So a slow machine makes a test slow, and not fail. What they name on the host,
 * VMs and folders, has names of its own; a libvirtd of the lab has namespaces of its own.
 */
const config: ReturnType<typeof defineConfig> = defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['{src,lab,setup,bench}/**/*.test.ts'], testTimeout: 60_000 } },
      {
        test: {
          name: 'integ',
          include: ['{src,lab,setup,docs}/**/*.integ.ts'],
          testTimeout: 600_000,
          hookTimeout: 600_000,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
export default config;
