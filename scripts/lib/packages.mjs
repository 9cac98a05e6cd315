// @ts-check
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { mustRun, run, which } from './command.mjs';
import { Problem } from './problem.mjs';

/**
 * Installs packages of the operating system. Coffer only needs the programs: the services that these packages
 * bring along must not start, neither now (they would take the usual ports) nor at the next boot.
 *
 * @typedef {{ title: string, apt: string, unit?: string }} DebianPackage
 * @typedef {DebianPackage & { brew: string }} SystemPackage
 * @typedef {import('./progress.mjs').Progress} Progress
 * @typedef {'installed' | 'refused' | 'impossible'} Outcome
 */

const BREW_DIRS = ['/opt/homebrew/bin', '/usr/local/bin', '/home/linuxbrew/.linuxbrew/bin'];

/**
 * Everything that root has to do, as one script, so that sudo asks once. `$@` are the packages, UNITS their
 * services.
 *
 * policy-rc.d is Debian's switch for "install, but start nothing". If one exists already, somebody decided
 * so, and it stays. Our switch names the process that installed it, and allows everything once that process
 * has ended. So even a switch that a crash left behind does no harm. Only one installer runs at a time:
 * otherwise the one that ends first would remove the switch of the other.
 */
const APT_SCRIPT = `
set -u
policy=/usr/sbin/policy-rc.d
exec 9> /run/coffer-install.lock && flock 9 || exit
if [ ! -e "$policy" ] || grep -qs '^# coffer:' "$policy"; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  {
    echo '#!/bin/sh'
    echo '# coffer: keeps what is being installed from starting as system services'
    echo "kill -0 $$ 2>/dev/null || exit 0"
    echo 'case " $* " in *rabbitmq*|*redis*|*epmd*|*keystone*|*postgresql*) exit 101 ;; esac'
    echo 'exit 0'
  } > "$policy"
  chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
refresh() { apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 update 9>&-; }
install() {
  apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 install --yes --no-install-recommends "$@" 9>&-
}
ls /var/lib/apt/lists 2>/dev/null | grep -q _Packages || refresh || exit
install "$@" || { refresh && install "$@"; } || exit
if [ -d /run/systemd/system ]; then systemctl disable --quiet $UNITS >/dev/null 2>&1 || true; fi
`;

/**
 * @param {readonly SystemPackage[]} packages
 * @param {{ yes: boolean, progress: Progress, signal?: AbortSignal | undefined }} options `yes`: sudo without asking
 * @returns {Promise<Outcome>}
 */
export async function installPackages(packages, { yes, progress, signal }) {
  const apt = which('apt-get', ['/usr/bin']);
  const brew = which('brew', BREW_DIRS);
  const isRoot = process.getuid?.() === 0;

  if (apt && isRoot) return aptInstall([], packages, { progress });
  // Homebrew needs no special rights, so it needs no question to the user; it refuses to run as root.
  if (brew && !isRoot) return brewInstall(brew, packages, { progress, signal });
  if (!apt || !which('sudo')) return 'impossible';
  if (!yes && !(await mayUseSudo(packages, progress))) return 'refused';
  return aptInstall(await sudoPrefix(progress), packages, { progress });
}

/**
 * Installs without a question, where that is possible: as root, or with a sudo that needs no password.
 * @param {readonly DebianPackage[]} packages
 * @param {{ progress: Progress, signal?: AbortSignal | undefined }} options
 * @returns {Promise<boolean>} whether that was possible
 */
export async function installUnasked(packages, { progress, signal }) {
  if (!which('apt-get', ['/usr/bin'])) return false;
  if (process.getuid?.() === 0) {
    await aptInstall([], packages, { progress });
    return true;
  }
  const sudo = which('sudo');
  if (!sudo || (await run(sudo, ['-n', 'true'], { signal })).code !== 0) return false;
  await aptInstall([sudo, '-n'], packages, { progress });
  return true;
}

/**
 * The command that a person types on a system with apt.
 * @param {readonly DebianPackage[]} packages
 */
export function aptCommand(packages) {
  const names = packages.map(({ apt }) => apt).join(' ');
  return `sudo apt-get update && sudo apt-get install --no-install-recommends ${names}`;
}

/**
 * The command that a person would type.
 * @param {readonly SystemPackage[]} packages
 */
export function installCommands(packages) {
  const brew = packages.map((p) => p.brew).join(' ');
  return [
    `  on Debian or Ubuntu:  ${aptCommand(packages)}`,
    `  on macOS:             brew install ${brew}`,
  ].join('\n');
}

/**
 * No abort signal reaches apt: a package that is only half configured would be worse than waiting.
 * @param {readonly string[]} prefix
 * @param {readonly DebianPackage[]} packages
 * @param {{ progress: Progress }} options
 * @returns {Promise<Outcome>}
 */
async function aptInstall(prefix, packages, { progress }) {
  const fresh = packages.filter((p) => !existsSync(`/var/lib/dpkg/info/${p.apt}.list`));
  const units = fresh.flatMap((p) => p.unit ?? []).join(' ');
  const script = `UNITS='${units}'\n${APT_SCRIPT}`;
  const [command, ...args] = [...prefix, 'sh', '-c', script, 'coffer-install', ...packages.map((p) => p.apt)];
  await progress.step(`Installing ${titles(packages)} (apt-get)`, (update) =>
    runAsRoot(String(command), args, packages, update),
  );
  return 'installed';
}

/**
 * The script is long: a failure names the packages and shows the output of apt-get, not the script.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {readonly DebianPackage[]} packages
 * @param {(detail: string) => void} update
 */
async function runAsRoot(command, args, packages, update) {
  const { code, tail } = await run(command, args, { onLine: update, stdin: 'inherit' });
  if (code === 0) return;
  throw new Problem(
    `apt-get could not install ${titles(packages)}:\n${tail}`,
    `Install it yourself, then run the same command again:\n  ${aptCommand(packages)}`,
  );
}

/**
 * @param {string} brew
 * @param {readonly SystemPackage[]} packages
 * @param {{ progress: Progress, signal?: AbortSignal | undefined }} options
 * @returns {Promise<Outcome>}
 */
async function brewInstall(brew, packages, { progress, signal }) {
  const env = { ...process.env, HOMEBREW_NO_INSTALL_CLEANUP: '1', NONINTERACTIVE: '1' };
  await progress.step(`Installing ${titles(packages)} (Homebrew)`, (update) =>
    mustRun(brew, ['install', ...packages.map((p) => p.brew)], {
      env,
      onLine: update,
      signal,
      failure: `Homebrew could not install ${titles(packages)}`,
    }),
  );
  return 'installed';
}

/**
 * @param {readonly SystemPackage[]} packages
 * @param {Progress} progress
 */
function mayUseSudo(packages, progress) {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return Promise.resolve(false);
  return progress.pause(async () => {
    const terminal = createInterface({ input: process.stdin, output: process.stderr });
    const names = packages.map((p) => p.apt).join(' ');
    const answer = await terminal.question(
      `${titles(packages)} not found. Install with \`sudo apt-get install --no-install-recommends ${names}\`? ` +
        '(No service of the system will be started.) [y/N] ',
    );
    terminal.close();
    return /^y(es)?$/i.test(answer.trim());
  });
}

/**
 * With a terminal, sudo asks for the password first, alone on the screen; without one it must not ask.
 * @param {Progress} progress
 */
async function sudoPrefix(progress) {
  if (!process.stdin.isTTY) return ['sudo', '-n'];
  await progress.pause(() =>
    mustRun('sudo', ['-v'], { stdin: 'inherit', failure: 'sudo did not let us in' }),
  );
  return ['sudo'];
}

/** @param {readonly DebianPackage[]} packages */
function titles(packages) {
  return packages.map((p) => p.title).join(' and ');
}
