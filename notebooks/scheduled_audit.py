# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: kernelspec,jupytext,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Scheduled audit: what changed since the last run?

# %% [markdown] tags=["setup"]
# **Which environments are watched, and from which severity on does the audit fail?** Values are names, never
# connection strings: papermill keeps every value in the notebook it leaves behind.

# %% tags=["parameters"]
environments: str = "all"  # names in auditkit.toml separated by commas, or "all"
baseline: str = "migrations"  # what was meant: migrations, migrations@GITREF, a name or a .snapshot file
history_dir: str = "reports"  # where the earlier runs are kept, to tell new findings from old
fail_on: str = "medium"  # FAIL from this severity on: critical, high, medium, low or info
config: str = ""  # path of auditkit.toml; empty means the nearest one upwards
out_dir: str = ""  # where to keep audit.json; empty means nowhere

# %% [markdown] tags=["setup"]
# **Are the parameters sound, and what is the result?** A misspelt name stops here. Everything below is drawn
# from this one result.

# %%
from auditkit import report, scheduled

report.check_parameters(globals(), "scheduled_audit")
audit = scheduled(environments, baseline=baseline, history_dir=history_dir, fail_on=fail_on, config=config)
audit = audit.keep(out_dir)

# %% [markdown] tags=["setup"]
# **Do the databases agree, and if not: what differs, why, and what comes next?**

# %%
report.summary(audit)

# %% [markdown]
# ## Since the last run
#
# What is new, what is gone, and what is still there?

# %%
report.since_last_run(audit)

# %% [markdown]
# Is it getting better or worse, run after run?

# %%
report.runs(audit)

# %% [markdown]
# ## Migrations
#
# Which migrations are not applied alike everywhere?

# %%
report.matrix(audit)

# %% [markdown]
# ## What differs
#
# Which kinds of objects differ, and where?

# %%
report.drift(audit)

# %% [markdown]
# ## When
#
# When did the drift begin? A bar spans from the last moment that is known to be clean to the first that is not.

# %%
report.timeline(audit)

# %% [markdown]
# ## Findings
#
# What was found, what caused it, and what removes it?

# %%
report.findings(audit, inline=True)

# %% [markdown]
# ## Who can change the schema
#
# Who could have done it, besides the migrations, and would it have been seen?

# %%
report.doors(audit)

# %% [markdown]
# ## Suppressed and not checked
#
# What does this audit say nothing about, by rule or by necessity, and until when?

# %%
report.coverage(audit)

# %% [markdown]
# ## Provenance
#
# How was this result made, and could it be made again?

# %%
report.provenance(audit)
