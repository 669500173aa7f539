create table users (id varchar primary key, username varchar unique not null, email varchar unique not null, full_name varchar not null,
  password_hash varchar not null);
create table templates (id serial primary key, repository_id int, name varchar unique not null, display_name varchar, description varchar,
  category varchar, app_type varchar, icon_url varchar, manifest jsonb, tags text[]);
create table agents (id uuid primary key default gen_random_uuid(), agent_id varchar unique not null, platform varchar, region varchar,
  status varchar not null default 'offline', capacity jsonb, last_heartbeat timestamp, cluster_id varchar, cluster_name varchar, metadata jsonb,
  approval_status varchar not null default 'pending', approved_at timestamp, approved_by varchar, api_key_hash varchar,
  api_key_last_used_at timestamp, created_at timestamp not null default now(), updated_at timestamp not null default now());
create table sessions (id varchar primary key, user_id varchar references users, template_name varchar, state varchar not null,
  agent_id varchar references agents (agent_id), cluster_id varchar, tags text[], platform varchar, namespace varchar, pod_name varchar,
  memory varchar, cpu varchar, persistent_home boolean, idle_timeout varchar, max_session_duration varchar, url varchar,
  last_activity timestamp, created_at timestamp not null default now(), updated_at timestamp not null default now());
create table agent_commands (id uuid primary key default gen_random_uuid(), command_id varchar unique not null,
  agent_id varchar references agents (agent_id) on delete cascade, session_id varchar, action varchar not null, payload jsonb,
  status varchar not null default 'pending', error_message varchar, created_at timestamp not null default now(), sent_at timestamp,
  acknowledged_at timestamp, completed_at timestamp);
insert into users values ('admin', 'admin', 'admin@example.org', 'Admin', '-');
insert into templates (repository_id, name, display_name, manifest)
  values (1, 'firefox-browser', 'Firefox', '{"spec": {"baseImage": "firefox:1", "ports": [{"containerPort": 3000}]}}');
