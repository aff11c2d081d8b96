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
# # Resolution: what is done about each finding, and how?

# %% [markdown] tags=["setup"]
# **Which environment is to be brought in line?** Values are names and paths, never connection strings: papermill keeps
# every value in the notebook it leaves behind.

# %% tags=["parameters"]
environment: str = "production"  # name in auditkit.toml of the database that is brought in line
resolve: str = ""  # other choices, as `auditkit plan --resolve` takes them, separated by commas
plan_file: str = ""  # where the plan is saved (its choices are kept); empty means nowhere
tool_commands: bool = False  # have the migration tool's own commands do what they can
config: str = ""  # path of auditkit.toml; empty means the nearest one upwards
out_dir: str = ""  # where to keep audit.json; empty means nowhere

# %% [markdown] tags=["setup"]
# **Are the parameters sound, and what is the result?** A misspelt name stops here. Everything below is drawn
# from this one result.

# %%
from auditkit import decide, report, resolution

report.check_parameters(globals(), "resolution")
audit = resolution(
    environment, resolve=resolve, plan_file=plan_file, tool_commands=tool_commands, config=config
).keep(out_dir)

# %% [markdown] tags=["setup"]
# **Do the database and its migrations agree, and if not: what comes next?**

# %%
report.summary(audit)

# %% [markdown]
# ## Decisions
#
# What is done about each finding, and what could be done instead? The default follows from the cause.

# %%
report.choices(audit)

# %% [markdown] tags=["setup"]
# **Would you decide otherwise?** Write it down here, as in `{"f-0123456789": "revert"}` or
# `{"f-0123456789": "accept until 2027-01-31: the DBA tries it out"}`, and run this cell and those below. Nothing is run in
# the environment.

# %%
otherwise = {}
audit = decide(audit, otherwise, config=config).keep(out_dir)
report.choices(audit) if otherwise else None

# %% [markdown]
# ## Steps
#
# What is run, in which order, who has to wait, and how is it taken back? All of it was rehearsed on a shadow rebuilt from
# this environment; nothing here runs by itself.

# %%
report.steps(audit)

# %% [markdown]
# ## Findings
#
# Why is each of them there?

# %%
report.findings(audit, inline=True)

# %% [markdown]
# ## Not checked
#
# What does this answer say nothing about?

# %%
report.coverage(audit)

# %% [markdown]
# ## Provenance
#
# How was this result made, and could it be made again?

# %%
report.provenance(audit)
