import { Argument, type Command, type Argument as CommanderArgument, type Option } from 'commander';
import type { Io } from './io.ts';

/**
 * Scripts with which a shell completes our command lines, generated from the commands themselves. All three
 * scripts work the same way. First they find the command that the earlier words name. If an option's value is
 * wanted, they complete that value. Otherwise they complete the command's options or, for an argument that is
 * a cluster, the names of clusters, which `coffer cluster-list` prints.
 */
const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

interface Flag {
  /** `-h`, `--help`. */
  readonly names: readonly string[];
  readonly takesValue: boolean;
  readonly values: readonly string[];
  readonly description: string;
}

interface Node {
  /** `dead-letters list`; empty for the program. */
  readonly path: string;
  readonly description: string;
  readonly flags: readonly Flag[];
  /** Names of the commands below it. */
  readonly children: readonly string[];
  /** The words that may be given as its arguments. */
  readonly words: readonly string[];
  readonly takesCluster: boolean;
}

/** `completion`. It is added last, because it completes the commands that were added before. */
export function addCompletionCommand(program: Command, io: Io): void {
  program
    .command('completion')
    .description('Write the script by which a shell completes commands, options and cluster names.')
    .addArgument(new Argument('<shell>', 'which one').choices(SHELLS))
    .addHelpText(
      'after',
      `
Examples:
  coffer completion bash > ~/.local/share/bash-completion/completions/coffer
  coffer completion zsh > "\${fpath[1]}/_coffer"
  coffer completion fish > ~/.config/fish/completions/coffer.fish`,
    )
    .action((shell: Shell) => {
      io.stdout.write(SCRIPTS[shell](nodesOf(program, [])));
    });
}

const SCRIPTS: Readonly<Record<Shell, (nodes: readonly Node[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

function nodesOf(command: Command, path: readonly string[]): readonly Node[] {
  const help = command.createHelp();
  const children = help.visibleCommands(command).filter((child) => child.name() !== 'help');
  const own = help.visibleOptions(command);
  const options =
    command.parent === null ? own : [...own, ...help.visibleGlobalOptions(command), ...globals(command)];
  const node: Node = {
    path: path.join(' '),
    description: command.description(),
    flags: unique(options).map(flagOf),
    children: children.map((child) => child.name()),
    words: command.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
    takesCluster: command.registeredArguments.some(isCluster),
  };
  return [node, ...children.flatMap((child) => nodesOf(child, [...path, child.name()]))];
}

/** The program's own options can be given with every command. */
function globals(command: Command): readonly Option[] {
  return command.parent === null ? command.options : globals(command.parent);
}

function unique(options: readonly Option[]): readonly Option[] {
  return [...new Map(options.map((option) => [option.flags, option])).values()];
}

function flagOf({ short, long, required, optional, argChoices, description }: Option): Flag {
  const names = [short, long].filter((name) => name !== undefined);
  return { names, takesValue: required || optional, values: argChoices ?? [], description };
}

function isCluster(argument: CommanderArgument): boolean {
  return ['cluster', 'upgrade'].includes(argument.name());
}

/** Patterns of `case`: every option of any command that takes a value. */
function valuePattern(nodes: readonly Node[]): string {
  const names = nodes
    .flatMap(({ flags }) => flags.filter(({ takesValue }) => takesValue))
    .flatMap(({ names }) => names);
  return [...new Set(names)].join('|');
}

function pathPattern(nodes: readonly Node[]): string {
  return nodes.flatMap(({ path }) => (path === '' ? [] : [`'${path}'`])).join('|');
}

function choicesOf({
  path,
  flags,
}: Node): readonly { readonly at: string; readonly values: readonly string[] }[] {
  return flags
    .filter(({ values }) => values.length > 0)
    .flatMap(({ names, values }) => names.map((name) => ({ at: `${path} ${name}`, values })));
}

const CLUSTERS = 'coffer cluster-list 2>/dev/null | tail -n +2 | cut -f 2';

function bashScript(nodes: readonly Node[]): string {
  const cases = nodes.map(({ path, flags, children, words, takesCluster }) => {
    const options = flags.flatMap(({ names }) => names).join(' ');
    const rest = [...children, ...words].join(' ');
    return `    '${path}') options='${options}' words='${rest}' clusters=${takesCluster ? 'yes' : ''} ;;`;
  });
  const choices = nodes.flatMap(choicesOf).map(({ at, values }) => {
    return `    '${at}') COMPREPLY=($(compgen -W '${values.join(' ')}' -- "$cur")); return ;;`;
  });
  return `# bash completion for coffer: coffer completion bash
_coffer() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]}
  local at='' next options='' words='' clusters='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case \${COMP_WORDS[i]} in
      ${valuePattern(nodes)}) i=$((i + 1)) ;;
      -*) ;;
      *)
        next="\${at:+$at }\${COMP_WORDS[i]}"
        case $next in ${pathPattern(nodes)}) at=$next ;; esac
        ;;
    esac
  done
  COMPREPLY=()
  case "$at $prev" in
${choices.join('\n')}
  esac
  case $prev in
    ${valuePattern(nodes)}) return ;;
  esac
  case $at in
${cases.join('\n')}
  esac
  if [[ $cur == -* ]]; then words=$options
  elif [[ $clusters ]]; then words=$(${CLUSTERS}); fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _coffer coffer
`;
}

function zshScript(nodes: readonly Node[]): string {
  const described = (name: string, text: string) => quoted(`${name.replaceAll(':', '\\:')}:${text}`);
  const descriptions = new Map(nodes.map(({ path, description }) => [path, description]));
  const cases = nodes.map(({ path, flags, children, words, takesCluster }) => {
    const options = flags.flatMap(({ names, description }) =>
      names.map((name) => described(name, description)),
    );
    const below = children.map((child) =>
      described(child, descriptions.get(`${path} ${child}`.trim()) ?? ''),
    );
    const rest = [...below, ...words.map(quoted)];
    return `    '${path}') options=(${options.join(' ')}); found=(${rest.join(' ')}); clusters=${takesCluster ? 'yes' : ''} ;;`;
  });
  const choices = nodes
    .flatMap(choicesOf)
    .map(({ at, values }) => `    '${at}') compadd ${values.join(' ')}; return ;;`);
  return `#compdef coffer
# zsh completion for coffer: coffer completion zsh
_coffer() {
  local at='' next clusters='' i
  local -a options found
  for ((i = 2; i < CURRENT; i++)); do
    case $words[i] in
      ${valuePattern(nodes)}) i=$((i + 1)) ;;
      -*) ;;
      *)
        next="\${at:+$at }$words[i]"
        case $next in ${pathPattern(nodes)}) at=$next ;; esac
        ;;
    esac
  done
  case "$at $words[CURRENT-1]" in
${choices.join('\n')}
  esac
  case $words[CURRENT-1] in
    ${valuePattern(nodes)}) _files; return ;;
  esac
  case $at in
${cases.join('\n')}
  esac
  if [[ $words[CURRENT] == -* ]]; then _describe -o option options
  elif [[ -n $clusters ]]; then compadd -- \${(f)"$(${CLUSTERS})"}
  else _describe command found; fi
}
if [[ $funcstack[1] == _coffer ]]; then _coffer "$@"; else compdef _coffer coffer; fi
`;
}

function fishScript(nodes: readonly Node[]): string {
  const descriptions = new Map(nodes.map(({ path, description }) => [path, description]));
  const lines = nodes.flatMap(({ path, flags, children, words, takesCluster }) => {
    const when = `complete -c coffer -n "__coffer_at '${path}'"`;
    const below = children.map((child) => {
      return `${when} -f -a ${child} -d ${quoted(descriptions.get(`${path} ${child}`.trim()) ?? '')}`;
    });
    const options = flags.map(({ names, takesValue, values, description }) => {
      const named = names.map((name) =>
        name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
      );
      const value = values.length > 0 ? ` -x -a ${quoted(values.join(' '))}` : takesValue ? ' -r' : '';
      return `${when} ${named.join(' ')}${value} -d ${quoted(description)}`;
    });
    const rest = words.length > 0 ? [`${when} -f -a ${quoted(words.join(' '))}`] : [];
    const clusters = takesCluster ? [`${when} -f -a '(${CLUSTERS})'`] : [];
    return [...below, ...rest, ...clusters, ...options];
  });
  return `# fish completion for coffer: coffer completion fish
function __coffer_at
    set -l at ''
    set -l words (commandline -opc)
    set -l i 2
    while test $i -le (count $words)
        switch $words[$i]
            case ${valuePattern(nodes).replaceAll('|', ' ')}
                set i (math $i + 1)
            case '-*'
            case '*'
                set -l next (string trim -- "$at $words[$i]")
                contains -- $next ${pathPattern(nodes).replaceAll('|', ' ')}; and set at $next
        end
        set i (math $i + 1)
    end
    test "$at" = "$argv[1]"
end
${lines.join('\n')}
`;
}

/** Quotes the text so that a shell takes it as one word. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
