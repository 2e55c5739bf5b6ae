"""The pages: looking at the lake, and asking Dagster to act. Streamlit is imported here and nowhere else."""
