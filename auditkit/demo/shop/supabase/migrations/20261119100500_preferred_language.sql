alter table public.profiles
  add column language text not null default 'en'
  constraint profiles_language_known check (language in ('de', 'en', 'fr'));

create index profiles_language_idx on public.profiles (language) where language <> 'en';
