import { refuseOption } from './program-options.ts';
import { installedQemu, type QemuBuild, qemuBuilds } from './qemu-builds.ts';

/** The build that a program's `--build LABEL` names; the program ends with status 2 where there is none. Default: the installed one. */
export async function buildOption(label: string | undefined): Promise<QemuBuild> {
  if (label === undefined) return await installedQemu();
  const { builds, missing } = await qemuBuilds();
  const reasons = missing.map((build) => `; ${build.label}: ${build.reason}`).join('');
  const labels = builds.map((build) => build.label).join(', ');
  const build = builds.find((one) => one.label === label);
  return build ?? refuseOption(`--build: ${label} is none of ${labels}${reasons}`);
}
