/** The small parts that every screen consists of. */
import type { ReactNode } from 'react';
import type { Tone } from '../tones.ts';
import { CheckIcon, WarnIcon } from './icons.tsx';

interface ButtonProps {
  readonly children: ReactNode;
  readonly kind?: 'primary' | 'plain' | 'danger' | 'quiet';
  readonly type?: 'button' | 'submit';
  readonly onClick?: () => void;
  readonly isDisabled?: boolean;
  /** The button shows that it is at work, and accepts no second click. */
  readonly isBusy?: boolean;
  /** Used where the visible text alone does not explain the button. */
  readonly label?: string;
  readonly isPressed?: boolean;
}

export function Button({
  children,
  kind = 'plain',
  type = 'button',
  onClick,
  isDisabled = false,
  isBusy = false,
  label,
  isPressed,
}: ButtonProps) {
  return (
    <button
      type={type}
      className={`button ${kind}`}
      onClick={onClick}
      disabled={isDisabled || isBusy}
      aria-busy={isBusy}
      aria-label={label}
      title={label}
      aria-pressed={isPressed}
    >
      {isBusy && <span className="spin" aria-hidden="true" />}
      {children}
    </button>
  );
}

interface CardProps {
  readonly title?: string;
  /** Beside the title. */
  readonly aside?: ReactNode;
  readonly children: ReactNode;
  readonly className?: string;
}

export function Card({ title, aside, children, className = '' }: CardProps) {
  return (
    <section className={`card ${className}`} aria-label={title}>
      {(title || aside) && (
        <header className="card-head">
          {title && <h2>{title}</h2>}
          {aside && <div className="aside">{aside}</div>}
        </header>
      )}
      {children}
    </section>
  );
}

/** A state as a word with a colour and a dot: colour is never the only sign. */
export function Pill({ tone, children }: { readonly tone: Tone; readonly children: ReactNode }) {
  return (
    <span className={`pill ${tone}`}>
      <span className="dot" aria-hidden="true" />
      {children}
    </span>
  );
}

interface NoteProps {
  readonly kind: 'bad' | 'wait' | 'info' | 'ok';
  readonly title: string;
  readonly children?: ReactNode;
  readonly action?: ReactNode;
}

/** A message that the user should read before continuing; screen readers announce a bad one at once. */
export function Note({ kind, title, children, action }: NoteProps) {
  return (
    <div className={`note ${kind}`} role={kind === 'bad' ? 'alert' : 'status'}>
      {kind === 'ok' ? <CheckIcon /> : <WarnIcon />}
      <div className="note-body">
        <strong>{title}</strong>
        {children && <div>{children}</div>}
      </div>
      {action}
    </div>
  );
}

/** Says that there is nothing to show, and what the user can do about it. */
export function Empty({ title, children }: { readonly title: string; readonly children?: ReactNode }) {
  return (
    <div className="empty">
      <strong>{title}</strong>
      {children && <div>{children}</div>}
    </div>
  );
}

export function Spinner({ label }: { readonly label: string }) {
  return (
    <div className="loading" role="status">
      <span className="spin" aria-hidden="true" />
      {label} …
    </div>
  );
}

/** A figure with the name of what it counts. */
export function Stat({
  label,
  children,
  tone,
}: {
  readonly label: string;
  readonly children: ReactNode;
  readonly tone?: Tone | undefined;
}) {
  return (
    <div className={`stat ${tone ?? ''}`}>
      <dt>{label}</dt>
      <dd>{children}</dd>
    </div>
  );
}

interface ProgressProps {
  readonly label: string;
  readonly value: number;
  readonly max: number;
  readonly tone?: Tone;
}

export function Progress({ label, value, max, tone = 'run' }: ProgressProps) {
  const share = max > 0 ? Math.min(1, value / max) : 0;
  return (
    <div
      className={`progress ${tone}`}
      role="progressbar"
      aria-label={label}
      aria-valuenow={value}
      aria-valuemin={0}
      aria-valuemax={max}
    >
      <span style={{ width: `${share * 100}%` }} />
    </div>
  );
}

/** Shown below a list that is not complete. */
export function More({ shown, total, onMore }: { shown: number; total: number; onMore: () => void }) {
  if (shown >= total) return null;
  return (
    <div className="more">
      <span>
        {shown} of {total} shown
      </span>
      <Button onClick={onMore}>Show more</Button>
    </div>
  );
}
