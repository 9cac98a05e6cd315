/** Icons, drawn on 16 by 16. They are decoration: the text beside each icon has the same meaning. */
import type { ReactNode } from 'react';

function Icon({ children }: { readonly children: ReactNode }) {
  return (
    <svg className="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

export const ClustersIcon = () => (
  <Icon>
    <rect x="2" y="2.5" width="12" height="4.5" rx="1.5" />
    <rect x="2" y="9" width="12" height="4.5" rx="1.5" />
    <path d="M4.6 4.75h.01M4.6 11.25h.01" />
  </Icon>
);
export const BatchesIcon = () => (
  <Icon>
    <path d="M2.5 4h11M2.5 8h7M2.5 12h4" />
    <path d="M11 10.5l1.5 1.5 2-2.5" />
  </Icon>
);
export const LettersIcon = () => (
  <Icon>
    <rect x="2" y="3.5" width="12" height="9" rx="1.5" />
    <path d="M2.5 5l5.5 4 5.5-4" />
  </Icon>
);
export const HealthIcon = () => (
  <Icon>
    <path d="M1.5 8.5h3l1.6-4.5 3 8 1.8-5 .8 1.5h2.8" />
  </Icon>
);
export const SearchIcon = () => (
  <Icon>
    <circle cx="7" cy="7" r="4.2" />
    <path d="M10.2 10.2L14 14" />
  </Icon>
);
export const PlusIcon = () => (
  <Icon>
    <path d="M8 3v10M3 8h10" />
  </Icon>
);
export const ArrowIcon = () => (
  <Icon>
    <path d="M3 8h9.5M9 4.5L12.5 8 9 11.5" />
  </Icon>
);
export const UpIcon = () => (
  <Icon>
    <path d="M8 13V3.5M4.5 7L8 3.5 11.5 7" />
  </Icon>
);
export const CloseIcon = () => (
  <Icon>
    <path d="M4 4l8 8M12 4l-8 8" />
  </Icon>
);
export const DownloadIcon = () => (
  <Icon>
    <path d="M8 2.5v7.5M4.8 7L8 10.2 11.2 7M3 13.2h10" />
  </Icon>
);
export const ThemeIcon = () => (
  <Icon>
    <circle cx="8" cy="8" r="5.5" />
    <path d="M8 2.5a5.5 5.5 0 010 11z" fill="currentColor" stroke="none" />
  </Icon>
);
export const WarnIcon = () => (
  <Icon>
    <path d="M8 2.2l6.3 11H1.7z" />
    <path d="M8 6.5v3M8 11.4v.01" />
  </Icon>
);
export const CheckIcon = () => (
  <Icon>
    <path d="M3 8.5l3.2 3.2L13 4.8" />
  </Icon>
);

export function Logo() {
  return (
    <svg className="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <path d="M5 13 16 6.5 27 13" />
      <rect x="6" y="15.5" width="20" height="10.5" rx="2.5" />
      <path d="M16 19v3.6" />
    </svg>
  );
}
