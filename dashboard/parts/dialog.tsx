import { type ReactNode, useEffect, useId, useRef } from 'react';
import { Button } from './basics.tsx';
import { CloseIcon } from './icons.tsx';

interface DialogProps {
  readonly title: string;
  readonly children: ReactNode;
  /** Null: the dialog can't be closed, only answered. */
  readonly onClose: (() => void) | null;
  readonly actions?: ReactNode;
  readonly isWide?: boolean;
}

/** Lies over everything else. The browser keeps the focus inside the dialog, and closes it on Escape. */
export function Dialog({ title, children, onClose, actions, isWide = false }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  const titleId = useId();
  useEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    dialog?.showModal();
    // The browser would put the focus on the close button first.
    const first = dialog?.querySelector<HTMLElement>('input, select, textarea') ?? heading.current;
    first?.focus();
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={element}
      className={isWide ? 'wide' : ''}
      aria-labelledby={titleId}
      onCancel={(event) => {
        event.preventDefault();
        onClose?.();
      }}
    >
      <header className="dialog-head">
        <h2 id={titleId} ref={heading} tabIndex={-1}>
          {title}
        </h2>
        {onClose && (
          <Button kind="quiet" label="Close" onClick={onClose}>
            <CloseIcon />
          </Button>
        )}
      </header>
      <div className="dialog-body">{children}</div>
      {actions && <footer className="dialog-actions">{actions}</footer>}
    </dialog>
  );
}
