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
# # Why do these databases differ from their migrations?

# %% [markdown] tags=["setup"]
# **Which environments are asked about, and compared with what?** Values are names, never connection strings:
# papermill keeps every value in the notebook it leaves behind.

# %% tags=["parameters"]
environment: str = "production"  # name in auditkit.toml, "all", or several separated by commas
baseline: str = "migrations"  # what was meant: migrations, migrations@GITREF, a name or a .snapshot file
schemas: str = ""  # only these schemas, separated by commas; empty means all that are yours
focus: str = ""  # a finding id (f-…) or an object's name, to see it alone; empty means everything
since: str = ""  # only migrations and events from this day on, like 2026-11-01; empty means all
config: str = ""  # path of auditkit.toml; empty means the nearest one upwards
out_dir: str = ""  # where to keep audit.json; empty means nowhere

# %% [markdown] tags=["setup"]
# **Are the parameters sound, and what is the result?** A misspelt name stops here. Everything below is drawn
# from this one result.

# %%
from auditkit import explain, report

report.check_parameters(globals(), "root_cause")
audit = explain(environment, baseline=baseline, schemas=schemas, config=config).keep(out_dir)
audit = audit.only(focus=focus, since=since)

# %% [markdown] tags=["setup"]
# **Do the databases agree, and if not: what differs, why, and what comes next?**

# %%
report.summary(audit)

# %% [markdown]
# ## What differs
#
# Which kinds of objects differ, and where? Left is what the migrations say, right is what the environment has.

# %%
report.drift(audit)

# %% [markdown]
# What exactly is different in each object, word by word?

# %%
report.definitions(audit)

# %% [markdown]
# ## Why
#
# What caused each difference, and how sure is that? *Proven* means that replaying the migrations with the cause
# leaves no difference.

# %%
report.findings(audit)

# %% [markdown]
# ## One finding, followed
#
# Who did it, when, and after which deployment? This follows the worst finding; name another one (f-…) or an object
# to follow that.

# %%
follow = audit.worst
case = audit.only(focus=follow)
report.story(case)

# %% [markdown]
# ### Blame
#
# Which migrations, written by whom, and which hands made the object what it is?

# %%
report.blame(case)

# %% [markdown]
# ### Proof
#
# How was the cause tested, what shows it, and what else could it have been?

# %%
report.proof(case)

# %% [markdown]
# ### Blast radius
#
# What depends on it, directly and further on?

# %%
report.reach(case)

# %% [markdown]
# ### What to do
#
# What is the next step for this finding?

# %%
report.remedies(case)

# %% [markdown]
# ## Migrations
#
# Which migrations are not applied alike everywhere?

# %%
report.matrix(audit)

# %% [markdown]
# ## When
#
# When did the drift begin? A bar spans from the last moment that is known to be clean to the first that is not.

# %%
report.timeline(audit)

# %% [markdown]
# ## Your own question
#
# What do you want to know? Everything above is in DataFrames: `audit.findings`, `.deltas`, `.blame`, `.events`,
# `.dependents`, `.migrations`, `.environments`, `.timeline`. Change this one and run it.

# %%
mine = audit.findings.groupby(["environment", "cause", "confidence"], observed=True).size()
report.table(mine.reset_index(name="findings"))

# %% [markdown]
# ## Remedy
#
# What is to be done, in which order? Nothing here runs by itself: copy a command, read what it prints.

# %%
report.remedies(audit)

# %% [markdown]
# ## Not checked
#
# What does this report say nothing about?

# %%
report.coverage(audit)

# %% [markdown]
# ## Provenance
#
# How was this result made, and could it be made again?

# %%
report.provenance(audit)
