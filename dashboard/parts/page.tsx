import { type ReactNode, useEffect, useRef } from 'react';

interface PageProps {
  readonly title: string;
  /** Above the title: the links back. */
  readonly crumbs?: ReactNode;
  /** Beside the title. */
  readonly aside?: ReactNode;
  readonly children: ReactNode;
}

/** A screen. When a link leads to the screen, the focus is on its title. */
export function Page({ title, crumbs, aside, children }: PageProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · Coffer`;
  }, [title]);
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);
  return (
    <>
      <div className="page-head">
        <div className="page-title">
          {crumbs && (
            <nav className="crumbs" aria-label="The way back">
              {crumbs}
            </nav>
          )}
          <h1 ref={heading} tabIndex={-1}>
            {title}
          </h1>
        </div>
        {aside && <div className="page-aside">{aside}</div>}
      </div>
      {children}
    </>
  );
}
